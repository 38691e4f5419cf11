"""Batched generation with a KV cache, greedy or sampled.

Knows a network and token ids; knows no text and no modes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.spark.network import LayerCache, SparkNetwork


@torch.inference_mode()
def generate(
    network: SparkNetwork,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    stop_id: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Continue every prompt until `stop_id` (not returned) or `max_tokens`. One left-padded batch; 0 is greedy."""
    device = network.embed_tokens.weight.device
    longest = max(map(len, prompts))
    pads = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    columns = torch.arange(longest, device=device)
    seen = columns[None, :] >= pads[:, None]
    causal = columns[None, :] <= columns[:, None]
    mask = (causal[None] & seen[:, None, :]) | torch.eye(longest, dtype=torch.bool, device=device)
    caches = [
        LayerCache(network.config, len(prompts), longest + max_tokens, network.norm.weight) for _ in network.layers
    ]
    hidden = network.hidden(ids, (columns[None, :] - pads[:, None]).clamp(min=0), caches, mask[:, None])
    seen = torch.cat((seen, seen.new_ones(len(prompts), max_tokens)), 1)
    outputs: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    alive = torch.ones(len(prompts), dtype=torch.bool, device=device)
    for step in range(max_tokens):
        logits = network.logits(hidden[:, -1]).float()
        if temperature > 0:
            chosen = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator)[:, 0]
        else:
            chosen = logits.argmax(-1)
        alive &= chosen != stop_id
        for row, token, is_alive in zip(rows, chosen.tolist(), alive.tolist(), strict=True):
            if is_alive:
                outputs[row].append(token)
        num_alive = int(alive.sum())
        if num_alive == 0 or step == max_tokens - 1:
            break
        if num_alive <= 0.7 * len(rows):
            kept = alive.nonzero()[:, 0]
            rows = [rows[at] for at in kept.tolist()]
            chosen, pads, seen, alive = chosen[kept], pads[kept], seen[kept], alive[kept]
            for cache in caches:
                cache.keep(kept)
        end = longest + step + 1
        hidden = network.hidden(chosen[:, None], (end - 1 - pads)[:, None], caches, seen[:, None, None, :end])
    return outputs
