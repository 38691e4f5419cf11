"""The formats that a bundle's weights are written in, and what all their writers have in common.

Knows: the interface of a writer, the files of each format, how one pass over the tensors feeds several writers.
Does not know: any layout. A writer re-lays what it is given and never quantizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from models.spec import TensorPlace
from quantize.awq_writer import CONFIG_NAME, WEIGHTS_NAME, AwqWriter, check_awq_tensors
from quantize.genai_files import GENAI_NAME, ONNX_NAME
from quantize.gguf_writer import GgufWriter
from quantize.hub_files import GENERATION_CONFIG_NAME, TOKENIZER_CONFIG_NAME
from quantize.npu_writer import (
    DECODE_NAME,
    NPU_DATA_NAME,
    PLAIN_DECODE_NAME,
    PLAIN_PREFILL_NAME,
    PREFILL_NAME,
    NpuWriter,
)
from quantize.onnx_writer import DATA_NAME, OnnxWriter, check_onnx_tensors
from quantize.recipe import FileFormat
from quantize.stored import ModelFacts, Stored, TensorFormat

GGUF_NAME = "model.gguf"


class BundleWriter(Protocol):
    """The files of one format while they are written: begun by BeginWriter, then ``add`` for all rows, ``finish``."""

    def add(self, place: TensorPlace, rows: Stored) -> None:
        """Take the next whole rows of ``place``; tensors come in the announced order, each with all of its rows.

        Raises ValueError for rows that are not the announced ones, OSError when the disk is full.
        """

    def finish(self) -> None:
        """Write what is left; the files are whole afterwards. Raises ValueError where rows are missing."""

    def close(self) -> None:
        """Let the files go, whole or not; called once, also after an error."""


# A folder to write into, what is said beside the weights, and the format of every tensor in the order of their coming.
BeginWriter = Callable[[Path, ModelFacts, Mapping[TensorPlace, TensorFormat]], BundleWriter]
# Raises UsageError for tensors that a format cannot hold; asked before the work.
CheckTensors = Callable[[Mapping[TensorPlace, TensorFormat]], None]


@dataclass(frozen=True, slots=True)
class WriterRow:
    """One format: the role of each file it writes, by name, and how writing begins."""

    roles: Mapping[str, str]
    begin: BeginWriter
    check: CheckTensors = lambda _formats: None


WRITERS: Mapping[FileFormat, WriterRow] = MappingProxyType(
    {
        "gguf": WriterRow(
            {GGUF_NAME: "gguf"}, lambda folder, facts, formats: GgufWriter(folder / GGUF_NAME, facts, formats)
        ),
        "onnx": WriterRow(
            {
                ONNX_NAME: "onnx",
                DATA_NAME: "onnx_data",
                GENAI_NAME: "genai_config",
                TOKENIZER_CONFIG_NAME: "tokenizer_config",
            },
            OnnxWriter,
            check_onnx_tensors,
        ),
        "awq": WriterRow(
            {
                WEIGHTS_NAME: "awq",
                CONFIG_NAME: "awq_config",
                TOKENIZER_CONFIG_NAME: "tokenizer_config",
                GENERATION_CONFIG_NAME: "generation_config",
            },
            AwqWriter,
            check_awq_tensors,
        ),
        "npu": WriterRow(
            {
                PREFILL_NAME: "npu_prefill",
                DECODE_NAME: "npu_decode",
                PLAIN_PREFILL_NAME: "npu_prefill_plain",
                PLAIN_DECODE_NAME: "npu_decode_plain",
                NPU_DATA_NAME: "npu_data",
            },
            NpuWriter,
            check_onnx_tensors,
        ),
    }
)


def roles_of(file_formats: Sequence[FileFormat]) -> dict[str, str]:
    """The role of every file that these formats write, by name."""
    return {name: role for file_format in file_formats for name, role in WRITERS[file_format].roles.items()}


def check_tensors(file_formats: Sequence[FileFormat], formats: Mapping[TensorPlace, TensorFormat]) -> None:
    """Raises UsageError for tensors that one of the formats cannot hold."""
    for file_format in file_formats:
        WRITERS[file_format].check(formats)


@contextmanager
def begin_all(
    file_formats: Sequence[FileFormat],
    folder: Path,
    facts: ModelFacts,
    formats: Mapping[TensorPlace, TensorFormat],
) -> Iterator[BundleWriter]:
    """One writer that hands everything to the writers of all ``file_formats``; closed at the end, also by an error."""
    with ExitStack() as stack:
        writers = []
        for file_format in file_formats:
            writers.append(WRITERS[file_format].begin(folder, facts, formats))
            stack.callback(writers[-1].close)
        yield _All(writers)


@dataclass(frozen=True, slots=True)
class _All:
    writers: Sequence[BundleWriter]

    def add(self, place: TensorPlace, rows: Stored) -> None:
        for writer in self.writers:
            writer.add(place, rows)

    def finish(self) -> None:
        for writer in self.writers:
            writer.finish()

    def close(self) -> None:
        """Each is closed by begin_all."""
