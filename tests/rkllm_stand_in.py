"""Builds the stand-in for Rockchip's runtime, or finds it built, and writes model files for it.

Knows: the C compiler, and the stand-in's model format. Does not know: the binding.
A machine without a compiler, as an emulated one, is given a folder of ready libraries in RKLLM_STAND_IN:

    python tests/rkllm_stand_in.py COMPILER FOLDER
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SOURCE = Path(__file__).parent / "rkllm" / "stand_in.c"
READY_VARIABLE = "RKLLM_STAND_IN"
VARIANTS = ((), ("OTHER_LAYOUT",))


def can_build() -> bool:
    """Whether there is a compiler, or nothing to compile."""
    return READY_VARIABLE in os.environ or shutil.which("cc") is not None


def build(folder: Path, *defines: str) -> Path:
    """The stand-in, ready or compiled into ``folder``; ``defines`` change it, as in ``OTHER_LAYOUT``."""
    ready = os.environ.get(READY_VARIABLE)
    return compile_stand_in("cc", folder, *defines) if ready is None else Path(ready) / library_name(*defines)


def library_name(*defines: str) -> str:
    """The file of one variant."""
    return f"librkllmrt{''.join(defines)}.so"


def compile_stand_in(compiler: str, folder: Path, *defines: str) -> Path:
    """Compile one variant into ``folder``."""
    library = folder / library_name(*defines)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, *(f"-D{name}" for name in defines), "-o", library, SOURCE], check=True)
    return library


def write_model(
    path: Path,
    replies: Mapping[Sequence[int], Sequence[int]],
    *,
    vocab_size: int,
    pause_keeps: bool = True,
    delay_us: int = 0,
) -> Path:
    """A model file: after the last cue that the held tokens contain its reply is played, token 0 behind it."""
    lines = [f"{vocab_size} {int(pause_keeps)} {delay_us}"]
    lines += [f"{' '.join(map(str, cue))} | {' '.join(map(str, reply))}" for cue, reply in replies.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


if __name__ == "__main__":
    for variant in VARIANTS:
        compile_stand_in(sys.argv[1], Path(sys.argv[2]), *variant)
