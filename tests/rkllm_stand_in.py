"""Builds the stand-in for Rockchip's runtime and writes model files for it.

Knows: the C compiler, and the stand-in's model format. Does not know: the binding.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

SOURCE = Path(__file__).parent / "rkllm" / "stand_in.c"


def build(folder: Path, *defines: str, compiler: str = "cc") -> Path:
    """Compile the stand-in into ``folder``; ``defines`` change it, as in ``OTHER_LAYOUT``."""
    library = folder / f"librkllmrt{''.join(defines)}.so"
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
