"""Nodes, and initializers over a data file, as they become an ONNX graph.

Knows: how one node or one initializer is said, and what a quantized weight is to MatMulNBits and GatherBlockQuantized.
Does not know: any model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from models.errors import ModelError
from models.spec import TensorPlace

if TYPE_CHECKING:
    from onnx import ModelProto

CONTRIB = "com.microsoft"
OPSET, IR_VERSION = 23, 10  # 23 is the first with RMSNormalization
# By name, the type as onnx calls it and the dimensions of each input or output.
Values = Mapping[str, tuple[str, Sequence[str | int]]]


@dataclass(frozen=True, slots=True)
class DataArray:
    """An array in the data file: ``type_name`` is that of onnx (FLOAT, UINT8), ``num_bytes`` lie at ``offset``."""

    name: str
    type_name: str
    shape: tuple[int, ...]
    offset: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class DataWeight:
    """A weight (N, K) in the data file, laid as in quantize.onnx_layout.OnnxRows."""

    bits: int
    block: int
    codes: DataArray
    scales: DataArray
    zeros: DataArray | None


@dataclass(frozen=True, slots=True)
class DataTensors:
    """Everything that the data file ``file_name`` holds."""

    file_name: str
    weights: Mapping[TensorPlace, DataWeight]
    norms: Mapping[TensorPlace, DataArray]


class GraphBuilder:
    """Nodes and initializers as they are added; a node is named as its first output."""

    def __init__(self, data: DataTensors, accuracy_level: int) -> None:
        self.data = data
        self._accuracy_level = accuracy_level
        self._onnx = import_onnx()
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}

    def node(
        self,
        operator: str,
        name: str,
        inputs: Sequence[str],
        domain: str = "",
        *,
        more_outputs: Sequence[str] = (),
        **attributes: Any,
    ) -> str:
        if "to" in attributes:
            attributes["to"] = self._type(attributes["to"])
        helper = self._onnx.helper
        outputs = [name, *more_outputs]
        self._nodes.append(helper.make_node(operator, inputs, outputs, name, domain=domain, **attributes))
        return name

    def constant(self, name: str, type_name: str, values: float | Sequence[float]) -> str:
        """A scalar or a list that stands in the graph itself."""
        numbers = values if isinstance(values, Sequence) else [values]
        shape = (len(numbers),) if isinstance(values, Sequence) else ()
        self._initializers[name] = self._onnx.helper.make_tensor(name, self._type(type_name), shape, numbers)
        return name

    def integers(self, name: str, values: int | Sequence[int]) -> str:
        return self.constant(name, "INT64", values)

    def array(self, array: DataArray, name: str | None = None, shape: tuple[int, ...] | None = None) -> str:
        """An initializer over an array of the data file, seen under another name and shape if they are given."""
        tensor = self._onnx.TensorProto(
            name=name or array.name,
            data_type=self._type(array.type_name),
            dims=shape or array.shape,
            data_location=self._onnx.TensorProto.EXTERNAL,
        )
        where = {"location": self.data.file_name, "offset": array.offset, "length": array.num_bytes}
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        self._initializers[tensor.name] = tensor
        return str(tensor.name)

    def linear(self, name: str, weight: DataWeight, values: str) -> str:
        """``values`` (..., K) times a weight (N, K)."""
        num_rows, row_bytes = weight.codes.shape
        num_blocks = weight.scales.shape[1]
        codes = self.array(weight.codes, shape=(num_rows, num_blocks, row_bytes // num_blocks))
        return self.node(
            "MatMulNBits",
            name,
            [values, codes, *self._scales_and_zeros(weight)],
            CONTRIB,
            N=num_rows,
            K=num_blocks * weight.block,
            bits=weight.bits,
            block_size=weight.block,
            accuracy_level=self._accuracy_level,
        )

    def gather(self, name: str, weight: DataWeight, tokens: str) -> str:
        """The rows of a table. Its codes get a second name: the bytes are the head's, but not the dimensions."""
        codes = self.array(weight.codes, f"{weight.codes.name}.rows")
        return self.node(
            "GatherBlockQuantized",
            name,
            [codes, tokens, *self._scales_and_zeros(weight)],
            CONTRIB,
            bits=weight.bits,
            block_size=weight.block,
            gather_axis=0,
            quantize_axis=1,
        )

    def _scales_and_zeros(self, weight: DataWeight) -> list[str]:
        return [self.array(array) for array in (weight.scales, weight.zeros) if array is not None]

    def finish(self, inputs: Values, outputs: Values) -> ModelProto:
        """The whole model."""
        helper = self._onnx.helper

        def described(values: Values) -> list[Any]:
            make = helper.make_tensor_value_info
            return [make(name, self._type(kind), dimensions) for name, (kind, dimensions) in values.items()]

        initializers = list(self._initializers.values())
        graph = helper.make_graph(self._nodes, "decoder", described(inputs), described(outputs), initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edge-think")

    def _type(self, name: str) -> int:
        return int(self._onnx.TensorProto.DataType.Value(name))


def import_onnx() -> ModuleType:
    """The ``onnx`` package. Raises ModelError when it is missing."""
    try:
        import onnx
    except ImportError as exc:
        raise ModelError("The onnx package, which writes ONNX files, is missing; run: pip install onnx") from exc
    module: ModuleType = onnx
    return module
