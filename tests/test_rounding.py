"""quantize.rounding: what the file holds is what the numbers in the report are about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from deep_checkpoints import write_deep_checkpoint
from numpy.typing import NDArray
from test_pipeline import QUICK

from quantize.int4 import quantize_symmetric
from quantize.pipeline import quantize_checkpoint
from quantize.rounding import RoundingErrors, values_of
from quantize.stored import Stored


@pytest.mark.parametrize(
    ("changes", "formats"),
    [
        ({"method": "rtn"}, {"Q4_0"}),
        ({"method": "rtn", "scale": "largest", "group_size": 64}, {"Q4_0"}),
        ({"method": "rtn", "asymmetric": True, "group_size": 128}, {"Q4_1"}),
        ({}, {"Q4_0"}),
        ({"group_size": 64}, {"Q4_0"}),
        ({"group_size": 128, "refine": "none"}, {"Q4_0"}),
        ({"asymmetric": True}, {"Q4_1"}),
        ({"asymmetric": True, "group_size": 128}, {"Q4_1"}),
        ({"bits": 5.2}, {"Q4_0", "Q8_0"}),
    ],
)
def test_the_file_holds_what_was_measured_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], formats: set[str]
) -> None:
    """Read back and dequantized by the gguf package, every weight is the float that our own numbers are about."""
    ours: dict[str, list[NDArray[np.float32]]] = {}

    def record(errors: RoundingErrors, name: str, rows: NDArray[np.float32], stored: Stored) -> None:
        ours.setdefault(name, []).append(values_of(stored))
        add(errors, name, rows, stored)

    add = RoundingErrors.add
    monkeypatch.setattr(RoundingErrors, "add", record)
    source = write_deep_checkpoint(tmp_path / "source", 2, hidden=128, feed_forward=128)
    bundle = quantize_checkpoint(source, tmp_path / "out", replace(QUICK, **changes))
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(bundle.gguf_path).tensors}
    for place in bundle.spec.places():
        tensor = read[place.gguf_name]
        theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(place.shape)
        expected = np.concatenate(ours[place.gguf_name])
        assert theirs.dtype == expected.dtype == np.float32
        np.testing.assert_array_equal(theirs.view(np.uint32), expected.view(np.uint32))
    assert {
        read[place.gguf_name].tensor_type.name for place in bundle.spec.places() if place.kind == "linear"
    } == formats


def test_errors_of_several_tensors_are_those_of_all_their_weights() -> None:
    """A mean of relative errors would let a tiny tensor count as much as the largest one."""
    random = np.random.default_rng(0)
    errors, rows, differences = RoundingErrors(), [], []
    for number, size in enumerate((1, 50)):
        some = random.standard_normal((size, 32)).astype(np.float32) * (number + 1)
        stored = quantize_symmetric(some, 32)
        errors.add(str(number), some, stored)
        rows.append(some)
        differences.append(values_of(stored) - some)
    expected = np.linalg.norm(np.concatenate(differences)) / np.linalg.norm(np.concatenate(rows))
    assert errors.together(["0", "1", "a float tensor"]) == pytest.approx(expected, rel=1e-3)
    assert errors.together(["1"]) == errors.relative()["1"]
    assert errors.together(["a float tensor"]) is None
