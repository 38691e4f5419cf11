"""quantize.budget: a size budget is kept, and buys 8 bits where 4 do most harm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import pytest
from deep_checkpoints import write_deep_checkpoint
from test_pipeline import QUICK, write_rough_checkpoint
from tiny_checkpoints import tiny_config

from models.errors import UsageError
from models.spec import spec_from_config
from quantize.budget import widen_within
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe
from quantize.rounding import plan_formats


def test_the_most_harmful_for_their_size_come_first() -> None:
    """What counts is squared harm a weight: a layer twice as large must do more than 1.4 times the harm to be first."""
    formats = plan_formats(spec_from_config(tiny_config()), QuantRecipe(wide=()))
    key, query, down = "blk.0.attn_k.weight", "blk.1.attn_q.weight", "blk.1.ffn_down.weight"  # 4096, 8192, 6144 weights
    harms = {name: 0.01 for name in ("blk.0.ffn_up.weight", "blk.1.ffn_up.weight")} | {key: 0.2, query: 0.27, down: 0.1}

    def widened(bits: float) -> set[str]:
        changed = widen_within(formats, harms, bits + 1e-9)  # sums of floats
        assert list(changed) == list(formats)
        return {place.gguf_name for place, found in changed.items() if found == "Q8_0" and place.kind == "linear"}

    num_weights = 86_016
    assert widened(4.5) == set()
    assert widened(4.5 + 4 * 4096 / num_weights) == {key}
    assert widened(4.5 + 4 * (4096 + 8192) / num_weights) == {key, query}
    assert widened(4.5 + 4 * (4096 + 8192 + 6144) / num_weights) == {key, query, down}
    assert widened(8.5) == {place.gguf_name for place in formats if place.kind == "linear"}
    assert formats == plan_formats(spec_from_config(tiny_config()), QuantRecipe(wide=()))


def test_a_budget_widens_what_suffers_most(tmp_path: Path) -> None:
    source = write_rough_checkpoint(tmp_path / "source")
    bundle = quantize_checkpoint(source, tmp_path / "out", replace(QUICK, bits=5.2))
    tensors = gguf.GGUFReader(bundle.gguf_path).tensors
    linear = {place.gguf_name for place in bundle.spec.places() if place.kind == "linear"}
    types = {tensor.name: tensor.tensor_type.name for tensor in tensors if tensor.name in linear}
    assert set(types.values()) == {"Q4_0", "Q8_0"}
    num_bytes = sum(tensor.n_bytes for tensor in tensors if tensor.name in linear)
    assert 5.0 < 8 * num_bytes / sum(tensor.n_elements for tensor in tensors if tensor.name in linear) <= 5.2
    narrow = quantize_checkpoint(source, tmp_path / "narrow", QUICK)
    assert bundle.manifest.report["quality"]["divergence"] < narrow.manifest.report["quality"]["divergence"]
    with pytest.raises(UsageError, match=r"these layers take 5\.000"):
        quantize_checkpoint(source, tmp_path / "other", replace(QUICK, bits=4.6, asymmetric=True))


def test_a_tight_budget_buys_what_helps_most(tmp_path: Path) -> None:
    """4.6 bits leave room for one layer of sixty; it goes where the most harm for a weight was measured."""
    source = write_deep_checkpoint(tmp_path / "source", 8)
    bundle = quantize_checkpoint(source, tmp_path / "out", replace(QUICK, bits=4.6))
    parts = [part for part in bundle.manifest.report["parts"] if part["part"] not in ("embedding", "head", "norms")]
    num_bits = 8 * sum(part["bytes"] for part in parts) / sum(part["weights"] for part in parts)
    assert 4.55 < num_bits <= 4.6
    tensors = gguf.GGUFReader(bundle.gguf_path).tensors
    widened = [tensor.name for tensor in tensors if tensor.name.startswith("blk") and tensor.tensor_type.name == "Q8_0"]
    assert 0 < len(widened) < 4
    assert bundle.manifest.recipe["bits"] == 4.6
