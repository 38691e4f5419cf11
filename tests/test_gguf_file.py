"""GGUF headers against the ``gguf`` package, and files that are no models."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from gguf import GGML_QUANT_SIZES, GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_gguf import write_model

from models import gguf_file
from models.dialect import DIALECTS
from models.errors import BundleError, ModelError
from models.gguf_file import read_gguf_header
from models.gguf_tokenizer import tokenizer_from_gguf

CONTROL_TEXTS = DIALECTS["hipo"].control_texts


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_the_header_is_what_an_independent_reader_sees(model_path: Path) -> None:
    header, reader = read_gguf_header(model_path), GGUFReader(model_path)
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert header.metadata.keys() == fields.keys()
    for key, field in fields.items():
        value = field.contents()
        assert header.metadata[key] == (tuple(value) if isinstance(value, list) else value), key
    assert [(t.name, t.shape, t.type, header.data_start_bytes + t.offset_bytes) for t in header.tensors] == [
        (t.name, tuple(t.shape.tolist()), t.tensor_type, t.data_offset) for t in reader.tensors
    ]
    assert (header.version, header.architecture) == (3, "qwen3")
    assert header.chat_template == "{{ '<|im_start|><judge>' }}"


def test_block_sizes_are_the_gguf_packages() -> None:
    """A wrong size would call a whole file truncated, or a truncated one whole."""
    known = {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
    assert {kind: known[kind] for kind in gguf_file._BLOCKS} == gguf_file._BLOCKS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "is empty or ends in its header"),
        (b"GG", "ends in its header"),
        (b"PK\x03\x04" + bytes(60), r"starts with b'PK\\x03\\x04'"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "ends in its header"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "ends in its header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63), "ends in its header"),
        (b"GGUF" + struct.pack("<IQQQcI", 3, 0, 1, 1, b"k", 77), "unknown type 77"),
        (b"GGUF" + struct.pack("<IQQQcIIQ", 3, 0, 1, 1, b"k", 9, 8, 2**61), "ends in its header"),
        (b"GGUF" + struct.pack("<IQQQcIIQ", 3, 0, 1, 1, b"k", 9, 10, 2**61), "ends in its header"),
        (b"GGUF" + struct.pack("<IQQQcIIQ", 3, 0, 1, 1, b"k", 9, 9, 1), "unknown type 9"),
        (b"GGUF" + struct.pack("<IQQQcI", 3, 1, 0, 1, b"t", 9), "9 dimensions"),
    ],
)
def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path, content: bytes | None, words: str) -> None:
    """Foreign and damaged files reach users as a download that stopped or a wrong path; counts in them are not to be
    believed before the file is that long."""
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=words) as caught:
        read_gguf_header(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        read_gguf_header(tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_truncated_file_is_refused(model_path: Path, tmp_path: Path, data: st.DataObject) -> None:
    """llama.cpp maps the file: reading weights past its end is a crash, not an error."""
    content = model_path.read_bytes()
    header = read_gguf_header(model_path)
    end = header.data_start_bytes + header.tensors[-1].offset_bytes + 4 * 18
    path = tmp_path / "cut.gguf"
    path.write_bytes(content[: data.draw(st.integers(0, end - 1))])
    with pytest.raises(BundleError):
        read_gguf_header(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**6), value=st.binary(min_size=1, max_size=8), early=st.booleans())
def test_a_damaged_file_is_refused_or_read(
    model_path: Path, tmp_path: Path, position: int, value: bytes, early: bool
) -> None:
    """Any byte may be wrong: never another exception, a hang or a huge allocation, in the reader or the tokenizer."""
    content = bytearray(model_path.read_bytes())
    start = position % (400 if early else len(content) - len(value))
    content[start : start + len(value)] = value
    path = tmp_path / "flipped.gguf"
    path.write_bytes(content)
    try:
        header = read_gguf_header(path)
        header.token_text("eos")
        tokenizer_from_gguf(header, CONTROL_TEXTS)
    except ModelError as error:
        assert str(error).endswith(".")


def test_ids_outside_the_vocabulary_are_no_ids(tmp_path: Path) -> None:
    extra = {"tokenizer.ggml.eot_token_id": 10**6}
    header = read_gguf_header(write_model(tmp_path / "model.gguf", extra=extra))
    assert len(header.stop_token_ids) == 1
    assert header.token_text("eot") == ""
