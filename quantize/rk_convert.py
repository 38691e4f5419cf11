"""Convert a float checkpoint for the NPU of an RK3588 with Rockchip's rkllm-toolkit 1.3.0, to 8 bits.

Knows: the toolkit's calls, and the two files beside this one: calibration.json, and for a family that the toolkit must
be told of custom_config.json. Does not know: this project; it runs where the toolkit is installed, on an x86-64 PC.

    python convert.py CHECKPOINT OUT.rkllm [--cuda] [--context TOKENS]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CALIBRATION_NAME, CUSTOM_CONFIG_NAME = "calibration.json", "custom_config.json"
TARGET, DTYPE, NUM_NPU_CORES = "rk3588", "w8a8", 3
DEFAULT_CONTEXT, MOST_CONTEXT, CONTEXT_STEP = 4096, 16384, 32  # tokens


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert; returns the exit code: 0, 1 where the toolkit fails, 2 for a wrong use."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="the folder of the float checkpoint")
    parser.add_argument("out", type=Path, help="the file to write, as in model.rkllm")
    parser.add_argument("--cuda", action="store_true", help="calibrate on a CUDA device, which is quicker")
    parser.add_argument("--context", type=int, default=DEFAULT_CONTEXT, metavar="TOKENS", help="the largest context")
    options = parser.parse_args(arguments)
    if not 0 < options.context <= MOST_CONTEXT or options.context % CONTEXT_STEP:
        parser.error(f"--context must be a multiple of {CONTEXT_STEP} up to {MOST_CONTEXT}")
    if not (options.checkpoint / "config.json").is_file():
        parser.error(f"{options.checkpoint} holds no config.json; name the folder of the checkpoint")
    if options.out.exists():
        parser.error(f"{options.out} exists already; name another file")
    return convert(options.checkpoint, options.out, "cuda" if options.cuda else "cpu", options.context)


def convert(checkpoint: Path, out: Path, device: str, max_context: int) -> int:
    """Load, build and export, each of which answers 0 where it went well; returns the exit code."""
    from rkllm.api import RKLLM

    toolkit: Any = RKLLM()
    custom_config = HERE / CUSTOM_CONFIG_NAME
    steps: tuple[Callable[[], int], ...] = (
        lambda: toolkit.load_huggingface(
            model=str(checkpoint),
            model_lora=None,
            device=device,
            dtype="float32",
            custom_config=str(custom_config) if custom_config.is_file() else None,
            load_weight=True,
        ),
        lambda: toolkit.build(
            do_quantization=True,
            optimization_level=1,
            quantized_dtype=DTYPE,
            quantized_algorithm="normal",
            target_platform=TARGET,
            num_npu_core=NUM_NPU_CORES,
            extra_qparams=None,
            dataset=str(HERE / CALIBRATION_NAME),
            hybrid_rate=0,
            max_context=max_context,
        ),
        lambda: toolkit.export_rkllm(str(out)),
    )
    for name, step in zip(("load_huggingface", "build", "export_rkllm"), steps, strict=True):
        if code := step():
            sys.stderr.write(f"rkllm-toolkit failed in {name} (code {code}); what it printed above says why.\n")
            return 1
    if not out.is_file() or not out.stat().st_size:
        sys.stderr.write(f"rkllm-toolkit says that all went well, but {out} is not there.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
