"""What runs inside an environment with the retired AutoAWQ: its own search and clipping on a checkpoint, written out.

Knows: autoawq 0.2.9, and nothing of this project. Does not know: what is compared.

The environment, on a machine without a GPU: `python3.11 -m venv E`, then with `E/bin/pip install`: `torch
transformers==4.51.3 accelerate datasets zstandard`, then `--no-deps autoawq==0.2.9` (it would want triton).
Called as `E/bin/python autoawq_worker.py CHECKPOINT WINDOWS.npy OUT`: OUT gets the quantized checkpoint and scales.npz.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

GROUP_SIZE = 128


def main(checkpoint: str, windows_path: str, out: str) -> None:
    """Quantize ``checkpoint`` on the token windows (W, T) of ``windows_path`` as AutoAWQ does, in float32."""
    import numpy as np
    import torch
    from awq import AutoAWQForCausalLM
    from awq.quantize.quantizer import AwqQuantizer
    from transformers import AutoTokenizer

    windows = np.load(windows_path)
    found: list[Any] = []
    search, compute = AwqQuantizer._search_best_scale, AwqQuantizer._compute_best_scale

    def keep(self: Any, *arguments: Any, **named: Any) -> Any:
        found.append(search(self, *arguments, **named))
        return found[-1]

    def compute_on_copies(self: Any, x: Any, w_mean: Any, x_mean: Any, module: Any, *rest: Any) -> Any:
        # It restores the weights after every try from what .cpu() gave, which on a CPU is the weights themselves.
        state = module.state_dict
        module.state_dict = lambda: {name: values.clone() for name, values in state().items()}
        try:
            return compute(self, x, w_mean, x_mean, module, *rest)
        finally:
            del module.state_dict

    AwqQuantizer._search_best_scale, AwqQuantizer._compute_best_scale = keep, compute_on_copies
    model = AutoAWQForCausalLM.from_pretrained(checkpoint, torch_dtype=torch.float32, device_map="cpu")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    config = {"zero_point": True, "q_group_size": GROUP_SIZE, "w_bit": 4, "version": "GEMM"}
    model.quantize(
        tokenizer,
        quant_config=config,
        calib_data=windows.tolist(),
        duo_scaling=False,  # s = mean|x|^ratio, as the AWQ repositories of the Hunyuan family were made
        max_calib_samples=len(windows),
        max_calib_seq_len=windows.shape[1],
    )
    model.save_quantized(out)
    tokenizer.save_pretrained(out)
    scales = {f"{number} {layers[0]}": scale.float().numpy() for number, (_, layers, scale) in enumerate(found)}
    np.savez(Path(out) / "scales.npz", **scales)


if __name__ == "__main__":
    main(*sys.argv[1:])
