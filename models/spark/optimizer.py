"""Optimiser and learning rate of the training: Muon for the matrices, AdamW for embedding and norms.

Muon (Jordan et al., 2024): momentum whose matrix is orthogonalised by five Newton-Schulz steps, scaled to the RMS of
an Adam step. Knows parameters and steps, nothing of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrices, roughly, of (count, rows, columns), computed in bf16."""
    a, b, c = _COEFFICIENTS
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.transpose(-1, -2) if tall else x
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).bfloat16()
    for _ in range(5):
        gram = x @ x.transpose(-1, -2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.transpose(-1, -2) if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Muon for matrices; `lr` is that of an Adam step of the same size."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.05
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update, all matrices of one shape together."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                updates = []
                for parameter in parameters:
                    state = self.state[parameter]
                    if not state:
                        state["momentum"] = torch.zeros_like(parameter)
                    state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(state["momentum"], group["momentum"]))
                size = 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, orthogonalize(torch.stack(updates)), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"] * size)


def make_optimizers(network: nn.Module, lr: float, use_muon: bool) -> list[torch.optim.Optimizer]:
    """Optimisers whose parameter groups carry their peak rate as `peak`."""
    matrices = [value for name, value in network.named_parameters() if value.ndim == 2 and "embed" not in name]
    embedding = [value for name, value in network.named_parameters() if "embed" in name]
    norms = [value for value in network.parameters() if value.ndim == 1]
    groups: list[dict[str, Any]] = [{"params": embedding, "weight_decay": 0.05}, {"params": norms, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = []
    if use_muon:
        optimizers.append(Muon(matrices, lr))
    else:
        groups.append({"params": matrices, "weight_decay": 0.05})
    optimizers.append(torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95)))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = lr
    return optimizers


def rate(step: int, num_steps: int, num_warm_up: int, constant_share: float = 0.4, floor: float = 0.01) -> float:
    """Share of the peak rate: linear warm-up, constant, then one minus a square root, down to `floor`."""
    if step < num_warm_up:
        return (step + 1) / num_warm_up
    start = constant_share * num_steps
    if step < start:
        return 1.0
    progress = min(1.0, (step - start) / max(1.0, num_steps - start))
    return 1.0 - (1.0 - floor) * math.sqrt(progress)
