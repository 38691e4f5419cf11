"""quantize.decoder against what transformers computes, recorded for every run and alive where it is installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from record_logit_vectors import LAST, TOKENS, VECTORS, transformers_logits
from tiny_checkpoints import QK_NORMS, write_tiny_checkpoint

import models.families
from models.checkpoint import open_checkpoint
from quantize.decoder import logits_of, rotation_of, run_block, split_places

FAMILIES = list(QK_NORMS)


def our_logits(folder: Path) -> NDArray[np.float32]:
    """Logits (LAST, vocabulary) after the last of TOKENS."""
    checkpoint = open_checkpoint(folder)
    return logits_of(checkpoint.spec, checkpoint.read, TOKENS)[-LAST:]


def relative_error(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The length of the difference as a share of the length."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_transformers(tmp_path: Path, family: str) -> None:
    """Norm order, rotation base, grouped heads, a query width of its own: a mistake in any is far above this bar."""
    recorded = np.load(VECTORS / f"logits_{family}.npy").astype(np.float32)
    ours = our_logits(write_tiny_checkpoint(tmp_path / "tied", family))
    assert relative_error(ours, recorded) <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_an_untied_head_is_used(tmp_path: Path, family: str) -> None:
    """A head of its own that is overlooked gives plausible logits of the wrong model."""
    recorded = np.load(VECTORS / f"logits_{family}_untied.npy").astype(np.float32)
    ours = our_logits(write_tiny_checkpoint(tmp_path / "untied", family, tied=False, seed=7))
    assert relative_error(ours, recorded) <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_the_norm_order_is_the_familys(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar above means something: norm and rotation in the other order fall far outside it."""
    row = models.families.FAMILIES[family]
    other = "after_rope" if row.qk_norm == "before_rope" else "before_rope"
    monkeypatch.setitem(models.families.FAMILIES, family, replace(row, qk_norm=other))
    recorded = np.load(VECTORS / f"logits_{family}.npy").astype(np.float32)
    assert relative_error(our_logits(write_tiny_checkpoint(tmp_path / "tied", family)), recorded) > 1e-2


@pytest.mark.parity
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_transformers_alive(tmp_path: Path, family: str, tied: bool) -> None:
    """The same against the installed transformers, on other weights than the recorded ones."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder = write_tiny_checkpoint(tmp_path / "source", family, tied=tied, seed=11)
    assert relative_error(our_logits(folder), transformers_logits(folder)) <= 1e-4


def test_the_observer_sees_what_every_linear_layer_reads(tmp_path: Path) -> None:
    """Gram matrices of the wrong input would make every later step worse without any error."""
    checkpoint = open_checkpoint(write_tiny_checkpoint(tmp_path / "source"))
    spec = checkpoint.spec
    _, blocks = split_places(spec)
    weights = {role: checkpoint.read(place) for role, place in blocks[0].items()}
    hidden = np.random.default_rng(1).standard_normal((5, spec.hidden_size)).astype(np.float32)
    seen: dict[str, NDArray[np.float32]] = {}
    out = run_block(spec, weights, hidden, rotation_of(spec, 5), lambda name, values: seen.update({name: values}))
    groups = models.families.family_of(spec.family).scale_groups
    assert list(seen) == [group.producer for group in groups]
    for group in groups:
        assert all(seen[group.producer].shape == (5, weights[role].shape[1]) for role in group.consumers)
    after = seen["value"] @ weights["attention_output"].T + seen["up"] @ weights["down"].T
    np.testing.assert_allclose(out, hidden + after, rtol=1e-5, atol=1e-5)


def test_every_linear_layer_has_one_scale_group() -> None:
    for family in models.families.FAMILIES.values():
        consumers = [role for group in family.scale_groups for role in group.consumers]
        linear = [row.role for row in family.rows if row.kind == "linear"]
        assert sorted(consumers) == sorted(linear)
