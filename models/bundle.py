"""The shipped folder: bundle.json beside the files it describes. Written whole or not at all, checked when opened.

Knows: the folder, its temporary twin, sizes and hashes. Does not know: what the manifest's fields mean, or the formats
of the files.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as with_changes
from pathlib import Path

from models.errors import BundleError
from models.files import (
    disk_reason,
    json_bytes,
    read_json_object,
    sha256_of,
    sync_file,
    sync_folder,
    write_bytes_atomically,
)
from models.manifest import MANIFEST_NAME, FileRecord, Manifest, manifest_from_json, manifest_to_json
from models.spec import ModelSpec

REPORT_NAME = "report.html"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: the manifest is valid and every file is there with its size."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return self.manifest.name

    @property
    def spec(self) -> ModelSpec:
        """The body of the model."""
        return self.manifest.spec

    @property
    def dialect_name(self) -> str:
        """A key of models.dialect.DIALECTS."""
        return self.manifest.dialect

    @property
    def bos_token_id(self) -> int | None:
        """The id that starts every prompt; None: no such token."""
        return self.manifest.bos_token_id

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """The ids that end an answer, at least one."""
        return self.manifest.stop_token_ids

    @property
    def gguf_path(self) -> Path:
        """The weights for llama.cpp. Raises BundleError when this bundle has none."""
        return self.file("gguf")

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer.json. Raises BundleError when this bundle has none."""
        return self.file("tokenizer")

    def file(self, role: str) -> Path:
        """The file with this role. Raises BundleError when there is none."""
        path = self.find_file(role)
        if path is None:
            raise BundleError(f"The bundle {self.path} holds no {role} file; make the bundle again.")
        return path

    def find_file(self, role: str) -> Path | None:
        """The file with this role, None when there is none."""
        for name, record in self.manifest.files.items():
            if record.role == role:
                return self.path / name
        return None


def open_bundle(path: Path) -> Bundle:
    """Open the bundle folder ``path``; the manifest is validated, presence and size of every file are checked.

    Raises BundleError naming the field or the file that is wrong.
    """
    if not path.is_dir():
        raise BundleError(f"There is no bundle folder at {path}; check the path.")
    bundle = Bundle(path, manifest_from_json(read_json_object(path / MANIFEST_NAME, BundleError)))
    for name, record in bundle.manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BundleError(f"The bundle {path} lacks its file {name}; copy or make the bundle again.")
        if file.stat().st_size != record.bytes:
            raise BundleError(
                f"{file} has {file.stat().st_size} bytes, {MANIFEST_NAME} says {record.bytes}; "
                "it is damaged, copy or make the bundle again."
            )
    return bundle


def verify_bundle(path: Path) -> Bundle:
    """Open the bundle and compare every file with its sha256. Raises BundleError naming the first damaged file."""
    bundle = open_bundle(path)
    for name, record in bundle.manifest.files.items():
        if sha256_of(path / name) != record.sha256:
            raise BundleError(f"{path / name} does not match its sha256; it is damaged, copy or make the bundle again.")
    return bundle


def write_bundle(
    target: Path,
    roles: Mapping[str, str],
    fill: Callable[[Path], Manifest],
    report_page: Callable[[Manifest], str] | None = None,
    *,
    replace: bool = False,
) -> Bundle:
    """Make a bundle at ``target``, or leave everything as it was.

    ``fill`` writes the files into a temporary folder beside ``target`` and returns the manifest without its ``files``,
    which are measured here; ``roles`` gives the role of each file name and must name every file written. What
    ``report_page`` then makes of the manifest is put beside them, with the role report. The folder is renamed to
    ``target`` last. An existing ``target`` is an error unless ``replace``, and then must be a bundle.
    What killed runs left behind is removed. Raises BundleError, and whatever ``fill`` raises.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _partial_folder(target) as folder:
            check_target(target, replace)
            manifest = fill(folder)
            _finish(folder, manifest, roles, report_page)
            _swap_in(folder, target)
    except OSError as exc:
        raise BundleError(f"{target} cannot be written: {disk_reason(exc)}; nothing was changed there.") from exc
    return open_bundle(target)


def check_target(target: Path, replace: bool) -> None:
    """Raises BundleError where write_bundle would not write: asked early, before hours of work."""
    old = _old_twin(target)
    if old.exists() and not target.exists():
        os.rename(old, target)  # a run was killed between the two renames of _swap_in
    if not target.exists():
        return
    if not replace:
        raise BundleError(f"{target} exists already; choose another place or ask for it to be replaced.")
    if not (target / MANIFEST_NAME).is_file():
        raise BundleError(f"{target} exists and is not a bundle, so it is not replaced; choose another place.")


def _old_twin(target: Path) -> Path:
    return target.parent / f".{target.name}.old"


@contextmanager
def _partial_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target``, locked while it is written: a second writer is refused, a dead one cleared."""
    folder = target.parent / f".{target.name}.partial"
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder, target)
        for leftover in folder.iterdir():
            leftover.unlink()
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path, target: Path) -> None:
    """Lock the open folder; it must still be the one at ``folder``, another writer may have just renamed it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_same = folder.exists() and os.path.samestat(os.fstat(handle), folder.stat())
    except BlockingIOError:
        is_same = False
    if not is_same:
        raise BundleError(f"Another process is writing {target}; wait for it to end.")


def _finish(
    folder: Path, manifest: Manifest, roles: Mapping[str, str], report_page: Callable[[Manifest], str] | None
) -> None:
    """Measure the files, write the report and bundle.json, and get all of it onto the disk."""
    records = {file.name: _measured(file, roles[file.name]) for file in sorted(folder.iterdir())}
    manifest = with_changes(manifest, files=records)
    if report_page is not None:
        report = folder / REPORT_NAME
        report.write_text(report_page(manifest), encoding="utf-8")
        manifest = with_changes(manifest, files={**records, REPORT_NAME: _measured(report, "report")})
    data = json_bytes(manifest_to_json(manifest))
    manifest_from_json(json.loads(data))  # what could not be opened again is never written
    write_bytes_atomically(folder / MANIFEST_NAME, data)


def _measured(file: Path, role: str) -> FileRecord:
    sync_file(file)
    return FileRecord(role, file.stat().st_size, sha256_of(file))


def _swap_in(folder: Path, target: Path) -> None:
    """Rename ``folder`` to ``target``; an old bundle steps aside first and comes back if the rename fails."""
    old = _old_twin(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    try:
        os.rename(folder, target)
    except OSError:
        if old.exists():
            os.rename(old, target)
        raise
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)
