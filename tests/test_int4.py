"""quantize.int4, quantize.int8 and quantize.gguf_blocks; the gguf package is the independent reader of the bytes."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import CheckpointError
from quantize.gguf_blocks import to_q4_0, to_q4_1, to_q8_0
from quantize.int4 import Int4Tensor, quantize_symmetric
from quantize.int8 import quantize_int8


@st.composite
def weight_arrays(draw: st.DrawFn) -> NDArray[np.float32]:
    """(N, K) weights of very different sizes: whole groups of zeros, subnormal scales, one dominant weight."""
    num_rows, num_groups = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = random.standard_normal((num_rows, num_groups, 32))
    size = 10.0 ** random.integers(-9, 4, (num_rows, num_groups, 1))
    outlier = draw(st.sampled_from([0.0, 1.0, -40.0, 40.0]))
    weights[..., random.integers(0, 32)] *= outlier
    weights *= size * (random.random((num_rows, num_groups, 1)) > 0.1)
    return weights.reshape(num_rows, -1).astype(np.float32)


def random_int4(group_size: int, *, with_zeros: bool, seed: int = 0) -> Int4Tensor:
    """Codes, scales and zeros of no model at all, scales of both signs among them."""
    random = np.random.default_rng(seed)
    grouped = (6, 256 // group_size)
    return Int4Tensor(
        random.integers(0, 16, (6, 256), dtype=np.uint8),
        (random.standard_normal(grouped) / 50).astype(np.float16),
        random.integers(0, 16, grouped, dtype=np.uint8) if with_zeros else None,
        group_size,
    )


@pytest.mark.parametrize("group_size", [32, 64, 128])
def test_q4_0_bytes_are_exact(group_size: int) -> None:
    """The nibble order (j and j + 16, not j and j + 1) and the repeated scale of a wide group."""
    tensor = random_int4(group_size, with_zeros=False)
    read = gguf.quants.dequantize(to_q4_0(tensor), GGMLQuantizationType.Q4_0)
    np.testing.assert_array_equal(read, tensor.dequantize())


@pytest.mark.parametrize("group_size", [32, 128])
def test_q4_1_keeps_codes_and_rounds_only_the_minimum(group_size: int) -> None:
    tensor = random_int4(group_size, with_zeros=True)
    packed = to_q4_1(tensor)
    read = gguf.quants.dequantize(packed, GGMLQuantizationType.Q4_1)
    steps = np.abs(tensor.scales.astype(np.float32)).repeat(group_size, axis=1)
    assert np.all(np.abs(read - tensor.dequantize()) <= 0.0074 * steps)
    shifted = Int4Tensor(tensor.codes, tensor.scales, None, group_size)
    nibbles = packed.reshape(6, -1, 20)[..., 4:]
    np.testing.assert_array_equal(nibbles, to_q4_0(shifted).reshape(6, -1, 18)[..., 2:])


@given(weights=weight_arrays())
def test_q8_0_bytes_are_exact_and_near(weights: NDArray[np.float32]) -> None:
    tensor = quantize_int8(weights)
    values = tensor.dequantize()
    np.testing.assert_array_equal(gguf.quants.dequantize(to_q8_0(tensor), GGMLQuantizationType.Q8_0), values)
    largest = np.abs(weights).reshape(len(weights), -1, 32).max(axis=2).repeat(32, axis=1)
    assert np.all(np.abs(values - weights) <= largest * (0.5 / 127 + 2**-10) + 4e-6)


@given(weights=weight_arrays(), group_size=st.sampled_from([32, 64]), search=st.booleans())
def test_codes_are_the_nearest_for_the_stored_scale(
    weights: NDArray[np.float32], group_size: int, search: bool
) -> None:
    """A scale rounded to float16 only after the codes were chosen leaves codes that are not the nearest."""
    weights = weights.repeat(group_size // 32, axis=1)
    tensor = quantize_symmetric(weights, group_size, "search" if search else "largest")
    steps = tensor.scales.astype(np.float32).repeat(group_size, axis=1)
    # within the range of codes, half a step; outside, the last code
    low, high = np.minimum(-8 * steps, 7 * steps), np.maximum(-8 * steps, 7 * steps)
    reachable = weights.clip(low, high)
    assert np.all(np.abs(tensor.dequantize() - reachable) <= np.abs(steps) * 0.5001)


@given(weights=weight_arrays())
def test_the_search_is_never_worse_than_the_largest_weight(weights: NDArray[np.float32]) -> None:
    def errors(tensor: Int4Tensor) -> NDArray[np.float64]:
        difference = tensor.dequantize().astype(np.float64) - weights
        return np.square(difference).reshape(-1, 32).sum(axis=1)

    searched, plain = quantize_symmetric(weights, 32), quantize_symmetric(weights, 32, "largest")
    assert np.all(errors(searched) <= errors(plain) * (1 + 1e-5) + 1e-30)


def test_the_search_pays_on_normal_weights() -> None:
    weights = (np.random.default_rng(0).standard_normal((256, 512)) * 0.02).astype(np.float32)

    def relative(tensor: Int4Tensor) -> float:
        return float(np.linalg.norm(tensor.dequantize() - weights) / np.linalg.norm(weights))

    assert relative(quantize_symmetric(weights, 32)) < 0.96 * relative(quantize_symmetric(weights, 32, "largest"))


def test_rounding_rows_apart_or_together_is_the_same() -> None:
    """Large tensors are rounded in chunks of rows; the chunks must not show."""
    weights = np.random.default_rng(1).standard_normal((300, 1024)).astype(np.float32)
    whole, parts = (
        quantize_symmetric(weights, 32),
        [quantize_symmetric(weights[i : i + 7], 32) for i in range(0, 300, 7)],
    )
    np.testing.assert_array_equal(whole.codes, np.concatenate([part.codes for part in parts]))
    np.testing.assert_array_equal(whole.scales, np.concatenate([part.scales for part in parts]))


def test_weights_on_the_grid_come_back_unchanged() -> None:
    tensor = random_int4(32, with_zeros=False)
    codes = tensor.codes.copy()
    codes[:, ::32] = 0  # the grid is found by its largest weight, -8 steps
    weights = Int4Tensor(codes, tensor.scales, None, 32).dequantize()
    np.testing.assert_array_equal(quantize_symmetric(weights, 32).dequantize(), weights)


def test_what_does_not_fit_is_refused() -> None:
    weights = np.ones((2, 48), np.float32)
    with pytest.raises(ValueError, match="48 columns"):
        quantize_symmetric(weights, 32)
    with pytest.raises(ValueError, match="48 columns"):
        quantize_int8(weights)
    with pytest.raises(CheckpointError, match="too large"):
        quantize_symmetric(np.full((1, 32), 1e6, np.float32), 32)
    with pytest.raises(CheckpointError, match="too large"):
        quantize_int8(np.full((1, 32), 1e8, np.float32))
    tensor = random_int4(32, with_zeros=True)
    with pytest.raises(ValueError, match="no zero points"):
        to_q4_0(tensor)
    with pytest.raises(ValueError, match="Q4_0"):
        to_q4_1(random_int4(32, with_zeros=False))
    with pytest.raises(ValueError, match="groups of 16"):
        to_q4_0(random_int4(16, with_zeros=False))
    with pytest.raises(ValueError, match="above 15"):
        Int4Tensor(tensor.codes + np.uint8(16), tensor.scales, None, 32)
    with pytest.raises(ValueError, match="shape"):
        Int4Tensor(tensor.codes, tensor.scales[:, :1], None, 32)
    with pytest.raises(ValueError, match="float16"):
        Int4Tensor(tensor.codes, tensor.scales.astype(np.float32), None, 32)
