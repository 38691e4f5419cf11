"""Small file work that must not go wrong: whole-or-nothing writes, strict JSON, sha256.

Knows: how to put bytes on a disk so that a killed run leaves the old file or the new one, never half of one.
Does not know: what is in the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models.errors import ModelError

MAX_JSON_BYTES = 64 * 1024 * 1024
_HASH_CHUNK_BYTES = 1024 * 1024


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, flush it to the disk and rename it into place.

    Raises OSError when the folder cannot be written; ``path`` is then untouched and nothing is left behind.
    """
    write_parts_atomically(path, (data,))


def write_parts_atomically(path: Path, parts: Iterable[bytes], mode: int = 0o666) -> None:
    """The same for bytes in ``parts``, which are never joined in memory; the user's umask narrows ``mode``."""
    name = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Flush a finished file to the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the names in ``folder`` to the disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_reason(exc: OSError) -> str:
    """Why a file could not be written, for a sentence; numpy tells of a full disk only in counts of bytes."""
    return exc.strerror or f"the disk took only a part ({exc}), is it full?"


def sha256_of(path: Path) -> str:
    """The sha256 of a file, 64 lower-case hexadecimal digits. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def read_json_object(path: Path, error: type[ModelError]) -> dict[str, Any]:
    """Parse a file that must hold one JSON object; NaN, Infinity and files above ``MAX_JSON_BYTES`` are refused.

    Raises ``error`` with one sentence that names the file.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise error(f"{path} is larger than {MAX_JSON_BYTES} bytes, too large for what it should be.")
        value = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError as exc:
        raise error(f"{path} does not exist; check the path, or fetch the model again.") from exc
    except OSError as exc:
        raise error(f"{path} cannot be read: {exc.strerror}.") from exc
    except (ValueError, RecursionError) as exc:
        raise error(f"{path} is not valid JSON ({exc}); it is damaged or foreign, fetch the model again.") from exc
    if not isinstance(value, dict):
        raise error(f"{path} holds a JSON {type(value).__name__}, not an object; it is damaged or foreign.")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def json_bytes(value: Any) -> bytes:
    """``value`` as UTF-8 JSON, indented, keys in the given order, the same bytes for the same value everywhere."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
