"""How a checkpoint that is int4 already says so, and which tensors then stand for one linear layer.

Knows: the ``quantization_config`` of AutoAWQ and of compressed-tensors, and the names, types and shapes of the tensors
they write. Does not know: the order of the codes inside a word, or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models.errors import CheckpointError
from models.spec import BLOCK_WIDTH, TensorPlace

PackingName = Literal["AutoAWQ GEMM", "compressed-tensors pack-quantized"]
CODES_PER_WORD = 8  # 4-bit codes in an int32
FLOATS, WORDS, LONGS = ("F16", "BF16", "F32"), ("I32",), ("I64",)

_HARMLESS_ORDERS = (None, False, "weight", "static")  # orders of rounding that leave the columns where they are


@dataclass(frozen=True, slots=True)
class PackedPart:
    """One of the tensors of a packed layer: its name, the types it may be stored as, and its shape."""

    name: str
    dtypes: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Packing:
    """The way all packed layers of a checkpoint are stored. ``group_size`` None: one group spans a whole row."""

    name: PackingName
    group_size: int | None
    is_symmetric: bool

    def marker(self, place: TensorPlace) -> str:
        """The name of the tensor that holds the codes of ``place``; a layer without it was left in floats."""
        return f"{_layer(place)}.{'qweight' if self.name == 'AutoAWQ GEMM' else 'weight_packed'}"

    def group_of(self, place: TensorPlace) -> int:
        """Weights that share a scale. Raises CheckpointError where a row does not fall into groups."""
        width = place.shape[1]
        group_size = self.group_size or width
        if width % group_size:
            raise CheckpointError(
                f"A row of {_layer(place)} has {width} weights, which groups of {group_size} do not divide; "
                "check quantization_config in config.json."
            )
        return group_size

    def parts(self, place: TensorPlace) -> dict[str, PackedPart]:
        """The tensors of a packed layer by what they are: codes, scales, and zeros or shape where there are any."""
        layer, (rows, width) = _layer(place), place.shape
        groups, row_words = width // self.group_of(place), -(-rows // CODES_PER_WORD)
        if self.name == "AutoAWQ GEMM":
            return {
                "codes": PackedPart(f"{layer}.qweight", WORDS, (width, row_words)),
                "scales": PackedPart(f"{layer}.scales", FLOATS, (groups, rows)),
                "zeros": PackedPart(f"{layer}.qzeros", WORDS, (groups, row_words)),
            }
        parts = {
            "codes": PackedPart(f"{layer}.weight_packed", WORDS, (rows, width // CODES_PER_WORD)),
            "scales": PackedPart(f"{layer}.weight_scale", FLOATS, (rows, groups)),
            "shape": PackedPart(f"{layer}.weight_shape", LONGS, (2,)),
        }
        if not self.is_symmetric:
            parts["zeros"] = PackedPart(f"{layer}.weight_zero_point", WORDS, (row_words, groups))
        return parts


def _layer(place: TensorPlace) -> str:
    return place.checkpoint_name.removesuffix(".weight")


def packing_from_config(config: Mapping[str, Any]) -> Packing | None:
    """The packing that config.json announces; None for a float checkpoint.

    Raises CheckpointError, naming the method or the setting, for everything whose codes cannot be carried over.
    """
    settings = config.get("quantization_config") or config.get("compression_config")
    if not settings:
        return None
    if not isinstance(settings, dict):
        raise CheckpointError(f"quantization_config is {settings!r}; it must be an object, check config.json.")
    method = settings.get("quant_method")
    if method == "awq":
        return _autoawq(settings)
    if method == "compressed-tensors":
        return _compressed_tensors(settings)
    details = [
        f"{key} {settings[key]}"
        for key in ("bits", "desc_act", "load_in_4bit", "load_in_8bit", "fmt")
        if settings.get(key)
    ]
    raise _refused(str(method), ", ".join(details))


def _refused(method: str, setting: str) -> CheckpointError:
    return CheckpointError(
        f"This checkpoint is quantized with {method}{f' ({setting})' if setting else ''}; only 4-bit AutoAWQ GEMM and "
        "compressed-tensors pack-quantized files can be imported, so give one of those or the float checkpoint."
    )


def _autoawq(settings: Mapping[str, Any]) -> Packing:
    bits = settings.get("bits", settings.get("w_bit"))
    version, backend = str(settings.get("version", "gemm")).lower(), settings.get("backend", "autoawq")
    for is_wrong, setting in (
        (bits != 4, f"{bits} bits"),
        (version != "gemm", f"version {version}"),
        (backend != "autoawq", f"backend {backend}"),
        (settings.get("zero_point", True) is not True, f"zero_point {settings.get('zero_point')}"),
    ):
        if is_wrong:
            raise _refused("awq", setting)
    return Packing("AutoAWQ GEMM", _group_size(settings.get("group_size", settings.get("q_group_size"))), False)


def _compressed_tensors(settings: Mapping[str, Any]) -> Packing:
    method = "compressed-tensors"
    groups = settings.get("config_groups")
    if not isinstance(groups, dict) or not groups or not all(isinstance(group, dict) for group in groups.values()):
        raise CheckpointError("quantization_config has no config_groups; config.json is damaged, fetch it again.")
    for group in groups.values():
        file_format = group.get("format") or settings.get("format")
        if file_format != "pack-quantized":
            raise _refused(method, f"format {file_format}")
        for key in ("input_activations", "output_activations"):
            if group.get(key):
                raise _refused(method, f"with {key}")
    if settings.get("transform_config"):
        raise _refused(method, "with a transform_config")
    if (settings.get("sparsity_config") or {}).get("format", "dense") != "dense":
        raise _refused(method, f"sparsity {settings['sparsity_config']['format']}")
    packings = {_weights_packing(group.get("weights")) for group in groups.values()}
    if len(packings) > 1:
        raise _refused(method, "config_groups that differ")
    return packings.pop()


def _weights_packing(weights: Any) -> Packing:
    if not isinstance(weights, dict):
        raise CheckpointError(f"quantization_config has weights = {weights!r}; it must be an object.")
    kind, order, strategy = weights.get("type", "int"), weights.get("actorder"), weights.get("strategy")
    for is_wrong, setting in (
        (weights.get("num_bits") != 4 or kind != "int", f"{weights.get('num_bits')}-bit {kind}"),
        (order not in _HARMLESS_ORDERS, f"actorder {order}"),
        (strategy not in ("group", "channel", None), f"strategy {strategy}"),
        (strategy is None and weights.get("group_size") is None, "no group_size"),
    ):
        if is_wrong:
            raise _refused("compressed-tensors", setting)
    is_symmetric = weights.get("symmetric", True)
    if not isinstance(is_symmetric, bool):
        raise CheckpointError(f"quantization_config has symmetric = {is_symmetric!r}; it must be true or false.")
    group_size = None if strategy == "channel" else _group_size(weights.get("group_size"))
    return Packing("compressed-tensors pack-quantized", group_size, is_symmetric)


def _group_size(value: Any) -> int | None:
    """-1 is the whole row in both methods."""
    if value == -1:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < BLOCK_WIDTH or value % BLOCK_WIDTH:
        raise CheckpointError(
            f"quantization_config has group_size = {value!r}; only multiples of {BLOCK_WIDTH}, or -1 for whole rows, "
            "fit the blocks of the files written here."
        )
    return value
