"""A saved sequence as bytes: who wrote it, its tokens, its part of the cache, and a checksum.

Knows: the layout. Does not know: what the cache bytes mean. Little-endian throughout:

    8 bytes   magic "EDGESEQ1"
    4 bytes   CRC-32 of everything after it
    4 + n     length and text of the fingerprint (model and library that wrote it)
    4 + 4 n   number of tokens, and the tokens as int32
    the rest  cache bytes
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from models.errors import BackendError

MAGIC = b"EDGESEQ1"
HEAD_BYTES = len(MAGIC) + 4
FINGERPRINT_BYTES = 2**20


def pack_state(fingerprint: str, tokens: Sequence[int], cache: bytes) -> bytes:
    """The state as bytes; ``unpack_state`` with the same ``fingerprint`` gives tokens and cache back."""
    name = fingerprint.encode()
    body = struct.pack(f"<I{len(name)}sI{len(tokens)}i", len(name), name, len(tokens), *tokens) + cache
    return MAGIC + struct.pack("<I", zlib.crc32(body)) + body


def unpack_state(fingerprint: str, state: bytes) -> tuple[list[int], bytes]:
    """Tokens and cache of a state. Raises BackendError when it is damaged or not from ``fingerprint``."""
    body = memoryview(state)[HEAD_BYTES:]
    if state[: len(MAGIC)] != MAGIC or len(state) < HEAD_BYTES + 8:
        raise BackendError(f"A state of {len(state)} bytes is not a saved sequence; prefill instead.")
    if struct.unpack_from("<I", state, len(MAGIC)) != (zlib.crc32(body),):
        raise BackendError(f"A saved state of {len(state)} bytes is damaged; prefill instead.")
    (name_bytes,) = struct.unpack_from("<I", body)
    name = bytes(body[4 : 4 + name_bytes]).decode(errors="replace")
    if name != fingerprint:
        raise BackendError("A saved state is of another model file or library version; prefill instead.")
    (num_tokens,) = struct.unpack_from("<I", body, 4 + name_bytes)
    first = 8 + name_bytes
    tokens = struct.unpack_from(f"<{num_tokens}i", body, first)
    return list(tokens), bytes(body[first + 4 * num_tokens :])


def file_fingerprint(path: Path) -> str:
    """Tells model files apart by their beginning and end: a cache means nothing to another model."""
    status = path.stat()
    return _fingerprint_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _fingerprint_of(path: Path, num_bytes: int, changed_ns: int) -> str:
    """Read once for every state of a file: it takes longer than to save or restore a small one."""
    with path.open("rb") as file:
        first = file.read(FINGERPRINT_BYTES)
        file.seek(-len(first), os.SEEK_END)
        last = file.read()
    return hashlib.sha256(first + last).hexdigest()
