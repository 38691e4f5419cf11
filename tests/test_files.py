"""models.files: whole or nothing, strict JSON."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from models.errors import BundleError
from models.files import json_bytes, read_json_object, sha256_of, write_bytes_atomically


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"old and longer")
    write_bytes_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the flush used to be found out only after the old file was gone."""
    path = tmp_path / "x.json"
    path.write_bytes(b"old")

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_bytes_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_of_a_file_longer_than_a_chunk(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "x").write_bytes(data)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_json_keeps_order_and_round_trips(tmp_path: Path) -> None:
    value = {"b": 1, "a": "｜é", "c": [1.5, None]}
    data = json_bytes(value)
    (tmp_path / "x").write_bytes(data)
    assert list(read_json_object(tmp_path / "x", BundleError)) == ["b", "a", "c"]
    assert json_bytes(read_json_object(tmp_path / "x", BundleError)) == data


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'"x"', b'{"a": NaN}', b'{"a": -Infinity}', b"\xff", b"[" * 100_000]
)
def test_anything_but_an_object_is_refused_in_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(BundleError, match=str(tmp_path)):
        read_json_object(tmp_path / "x", BundleError)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="gone does not exist"):
        read_json_object(tmp_path / "gone", BundleError)
    with pytest.raises(BundleError, match="cannot be read"):
        read_json_object(tmp_path, BundleError)


def test_a_file_is_readable_as_the_umask_says(tmp_path: Path) -> None:
    """A private temporary file made every bundle unreadable for the other users of a shared installation."""
    before = os.umask(0o022)
    try:
        write_bytes_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644
