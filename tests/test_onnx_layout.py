"""quantize.onnx_layout: laid bytes are the same weights to a reader that knows only the published layouts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import ReadWeight, unpack

from quantize.int4 import Int4Tensor
from quantize.int8 import Int8Tensor
from quantize.onnx_layout import block_of, onnx_rows


@st.composite
def int4_rows(draw: st.DrawFn) -> Int4Tensor:
    """Tensors of any group that is a multiple of 32, with an odd number of groups too."""
    num_rows, num_groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    group_size = 32 * draw(st.integers(1, 20))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    codes = random.integers(0, 16, (num_rows, num_groups * group_size)).astype(np.uint8)
    scales = random.standard_normal((num_rows, num_groups)).astype(np.float16)
    zeros = random.integers(0, 16, scales.shape).astype(np.uint8) if draw(st.booleans()) else None
    return Int4Tensor(codes, scales, zeros, group_size)


@given(int4_rows())
def test_laid_rows_are_the_same_weights(tensor: Int4Tensor) -> None:
    laid = onnx_rows(tensor)
    assert laid.block in (32, 64, 128, 256)
    assert tensor.group_size % laid.block == 0
    num_blocks = laid.scales.shape[1]
    zeros = np.full(laid.scales.shape, 8) if laid.zeros is None else unpack(laid.zeros, 4, num_blocks)
    values = ReadWeight(unpack(laid.codes, 4), laid.scales, zeros).values
    np.testing.assert_array_equal(values, tensor.dequantize())


@given(st.integers(0, 99))
def test_laid_bytes_are_the_same_weights(seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(-128, 128, (3, 64)).astype(np.int8)
    tensor = Int8Tensor(codes, random.standard_normal((3, 2)).astype(np.float16))
    laid = onnx_rows(tensor)
    values = ReadWeight(unpack(laid.codes, 8), laid.scales, np.full((3, 2), 128)).values
    np.testing.assert_array_equal(values, tensor.dequantize())


@pytest.mark.parametrize(("group_size", "block"), [(32, 32), (64, 64), (96, 32), (128, 128), (512, 256), (320, 64)])
def test_a_group_falls_into_blocks(group_size: int, block: int) -> None:
    assert block_of(group_size) == block
