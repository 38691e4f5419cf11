"""Rounding to 4 bits while training, so that the int4 bundle loses little.

Knows Q4_0 (groups of 32 along the input, scale from the entry of largest magnitude over -8) and how to lend a network
rounded weights for one step. The quantizer that ships is elsewhere; this is only its shadow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

GROUP = 32


@torch.no_grad()
def round_to_q4_0(weight: Tensor) -> Tensor:
    """`weight` (rows, columns) as Q4_0 would give it back."""
    groups = weight.float().unflatten(-1, (-1, GROUP))
    place = groups.abs().argmax(-1, keepdim=True)
    scale = groups.gather(-1, place) / -8
    inverse = torch.where(scale == 0, torch.zeros_like(scale), 1 / scale)
    codes = (groups * inverse + 8.5).floor().clamp(0, 15) - 8
    return (codes * scale.half().float()).flatten(-2).to(weight.dtype)


@contextmanager
def rounded(network: nn.Module) -> Iterator[None]:
    """Inside the block every matrix but the embedding is rounded; gradients pass straight through to the kept one."""
    kept: list[tuple[nn.Parameter, Tensor]] = []
    for name, parameter in network.named_parameters():
        if parameter.ndim == 2 and "embed" not in name:
            kept.append((parameter, parameter.data))
            parameter.data = round_to_q4_0(parameter.data)
    try:
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data
