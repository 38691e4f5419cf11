"""A file that was made elsewhere joins a bundle: copied, hashed, recorded last; a killed run changes nothing.

Knows: the order of the steps. Does not know: what is in the file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as with_changes
from pathlib import Path

from models.bundle import Bundle, open_bundle
from models.errors import BundleError
from models.files import disk_reason, json_bytes, sync_folder, write_bytes_atomically
from models.manifest import MANIFEST_NAME, FileRecord, manifest_to_json

CHUNK_BYTES = 1024 * 1024


def attach_file(folder: Path, source: Path, role: str, *, replace: bool = False) -> Bundle:
    """Copy ``source`` into the bundle ``folder`` and record it with this role, its size and its sha256.

    It is named after its content, so that a file that is being replaced stays whole until the manifest names the new
    one. A role that is taken is an error unless ``replace``. Raises BundleError; the bundle is then as it was.
    """
    try:
        with _only_writer(folder):
            bundle = open_bundle(folder)
            old = bundle.find_file(role)
            if old is not None and not replace:
                raise BundleError(f"{folder} has its {role} file already ({old.name}); ask for it to be replaced.")
            name, record = _copy(source, folder, role)
            kept = {other: file for other, file in bundle.manifest.files.items() if file.role != role}
            manifest = with_changes(bundle.manifest, files={**kept, name: record})
            try:
                write_bytes_atomically(folder / MANIFEST_NAME, json_bytes(manifest_to_json(manifest)))
            except OSError:
                if name not in bundle.manifest.files:
                    (folder / name).unlink()
                raise
            if old is not None and old.name != name:
                old.unlink()
    except OSError as exc:
        raise BundleError(f"{source} cannot join {folder}: {disk_reason(exc)}; the bundle is as it was.") from exc
    return open_bundle(folder)


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Two processes at once would each write a manifest without the other's file."""
    if not folder.is_dir():
        raise BundleError(f"There is no bundle folder at {folder}; check the path.")
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise BundleError(f"Another process is changing {folder}; wait for it to end.") from exc
    finally:
        os.close(handle)


def _copy(source: Path, folder: Path, role: str) -> tuple[str, FileRecord]:
    """The name in ``folder`` and the record of a copy of ``source``, which is whole and on the disk."""
    digest, num_bytes = hashlib.sha256(), 0
    partial = folder / f".{role}.partial"  # what a killed run left there is overwritten
    try:
        with source.open("rb") as given, partial.open("wb") as copy:
            while chunk := given.read(CHUNK_BYTES):
                digest.update(chunk)
                num_bytes += copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        if not num_bytes:
            raise BundleError(f"{source} is empty; make it again.")
        name = f"model-{digest.hexdigest()[:12]}.{role}"
        os.replace(partial, folder / name)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return name, FileRecord(role, num_bytes, digest.hexdigest())
