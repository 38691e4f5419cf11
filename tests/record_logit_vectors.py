"""Writes tests/vectors/logits_*.npy, what transformers computes for the tiny checkpoints.

Run `python tests/record_logit_vectors.py` (torch and transformers needed) when tiny_checkpoints.py has changed. The
weights of those checkpoints lie on the quantized grid, so the logits do not depend on how rounding chooses its scales.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tiny_checkpoints import QK_NORMS, write_tiny_checkpoint
from tiny_models import random_tokens

VECTORS = Path(__file__).resolve().parent / "vectors"
TOKENS = random_tokens(48, seed=3)
LAST = 8  # positions that are compared: late ones, where the base of the rotation shows


def transformers_logits(checkpoint: Path) -> NDArray[np.float32]:
    """Logits (LAST, vocabulary) in float32 after the last of TOKENS."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.no_grad():
        logits: NDArray[np.float32] = model(torch.tensor([TOKENS])).logits[0, -LAST:].numpy()
    return logits


def main() -> None:
    """Record two files a family: with the head tied to the embedding, and with a head of its own."""
    for family in QK_NORMS:
        for name, options in (("", {}), ("_untied", {"tied": False, "seed": 7})):
            with tempfile.TemporaryDirectory() as folder:
                logits = transformers_logits(write_tiny_checkpoint(Path(folder), family, **options))
            np.save(VECTORS / f"logits_{family}{name}.npy", logits)


if __name__ == "__main__":
    main()
