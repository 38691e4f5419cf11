"""How a checkpoint is quantized, as one frozen value that the bundle keeps.

Knows: the choices and which of them fit together. Does not know: how they are carried out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from models.errors import UsageError
from models.families import FAMILIES
from models.spec import BLOCK_WIDTH
from quantize.int4 import ScaleChoice

Method = Literal["rtn", "awq"]
Refinement = Literal["none", "gptq"]
FileFormat = Literal["gguf", "onnx", "awq", "npu"]
Target = Literal["qnn-v73", "qnn-v75"]  # a kind of chip that the graphs of npu are compiled for

LEAST_BITS, MOST_BITS = 4.5, 8.5  # a weight of Q4_0 and of Q8_0, scales counted


@dataclass(frozen=True, slots=True)
class QuantRecipe:
    """4 bits for the linear layers; the tensors of the ``wide`` roles stay at 8 bits, norms at 32.

    ``bits`` 32 keeps every weight as it is, in float32: the reference that an int4 bundle is measured against. Any
    other value but 4 is a budget for an average weight of the blocks' linear layers, scales counted: those that
    suffer most stay at 8 bits as far as it goes.
    ``group_size``: weights that share a scale, a multiple of 32. ``asymmetric``: groups have a zero point too.
    ``method`` rtn rounds to nearest (``scale``: see quantize.int4.quantize_symmetric); awq also scales and clips for
    what the layers read on a calibration text, of ``windows`` windows of ``window_tokens`` tokens, trying ``grid``
    scales, and ``refine`` gptq then feeds errors back. ``held_out`` windows are kept to measure the result on.
    ``file_formats``: what the bundle holds the same weights in, see quantize.writers. ``targets``: what the format npu
    is compiled for as well, see quantize.ahead.
    Raises UsageError for a value that cannot be honoured.
    """

    bits: float = 4
    group_size: int = BLOCK_WIDTH
    scale: ScaleChoice = "search"
    wide: tuple[str, ...] = ("embedding", "head")
    asymmetric: bool = False
    method: Method = "rtn"
    refine: Refinement = "gptq"
    grid: int = 20
    windows: int = 16
    window_tokens: int = 512
    held_out: int = 2
    file_formats: tuple[FileFormat, ...] = ("gguf",)
    targets: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        if self.bits not in (4, 32) and not LEAST_BITS <= self.bits <= MOST_BITS:
            raise UsageError(
                f"bits is {self.bits}; use 4, a budget from {LEAST_BITS} to {MOST_BITS}, or 32 to keep all as it is."
            )
        if self.group_size < BLOCK_WIDTH or self.group_size % BLOCK_WIDTH:
            raise UsageError(f"group_size is {self.group_size}; use a multiple of {BLOCK_WIDTH}.")
        for name, choices in (("scale", ScaleChoice), ("method", Method), ("refine", Refinement)):
            if getattr(self, name) not in get_args(choices):
                raise UsageError(f"{name} is {getattr(self, name)!r}; use {' or '.join(get_args(choices))}.")
        for name, least in (("grid", 1), ("windows", 1), ("window_tokens", 8), ("held_out", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; use {least} or more.")
        if self.has_budget and self.method != "awq":
            raise UsageError(f"bits {self.bits} is a budget, which goes by errors on a text; ask for method awq.")
        for file_format in self.file_formats:
            if file_format not in get_args(FileFormat):
                raise UsageError(f"The format {file_format!r} is unknown; use {' or '.join(get_args(FileFormat))}.")
        if not self.file_formats or len(set(self.file_formats)) < len(self.file_formats):
            raise UsageError(f"The formats are {', '.join(self.file_formats) or 'none'}; name one or more, each once.")
        for target in self.targets:
            if target not in get_args(Target):
                raise UsageError(f"There is no target {target!r}; use {', '.join(get_args(Target))} or rk3588.")
        if self.targets and ("npu" not in self.file_formats or len(set(self.targets)) < len(self.targets)):
            raise UsageError(f"The targets are {', '.join(self.targets)}; name each once, beside the format npu.")
        known = {row.role for family in FAMILIES.values() for row in family.rows if row.kind != "norm"}
        if unknown := sorted(set(self.wide) - known):
            raise UsageError(f"wide names the role {unknown[0]!r}; use roles among {', '.join(sorted(known))}.")

    @property
    def has_budget(self) -> bool:
        """Whether ``bits`` is an average that errors decide how to spend."""
        return self.bits not in (4, 32)

    def to_record(self) -> dict[str, Any]:
        """What a bundle keeps: the fields that had a say."""
        record = asdict(self)
        for name in () if self.method == "awq" else ("refine", "grid", "windows", "window_tokens", "held_out"):
            del record[name]
        if not self.targets:
            del record["targets"]
        return record
