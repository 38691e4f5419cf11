"""Where the outcome of ``edge calibrate`` is kept: the user's state folder, or the bundle itself.

Knows: files, and which model one belongs to. Does not know: what is in them (``think.refit``), or how it was found.
A bundle is hashed and may be read-only, so what a user's own prompts taught lies beside it, and comes first.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.state import read_state, state_folder, write_state
from models.errors import BundleError

if TYPE_CHECKING:
    from edge.think.refit import Refit
    from models.bundle import Bundle

FOLDER = "calibrated"
ROLE, BUNDLE_FILE = "router", "router.json"


def calibration_key(name: str, path: Path, dialect: str) -> str:
    """Names a model by what tells its outcomes from another's: name, size of the weights, dialect."""
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return hashlib.sha256(f"{name}\0{size}\0{dialect}".encode()).hexdigest()[:16]


def find_refit(key: str, bundle: Bundle | None) -> Refit | None:
    """The user's own, else the bundle's, else None; what is damaged or of another version counts as not there."""
    if value := read_state(f"{FOLDER}/{key}.json"):
        return _read(value)
    path = None if bundle is None else bundle.find_file(ROLE)
    if path is None:
        return None
    try:
        return _read(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def _read(value: Any) -> Refit | None:
    from edge.think.refit import Refit

    try:
        return Refit.from_json(value)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def keep_refit(key: str, refit: Refit) -> Path:
    """Write it into the state folder; gives the file. Raises BundleError where that is impossible."""
    name = f"{FOLDER}/{key}.json"
    if sentence := write_state(name, refit.to_json()):
        raise BundleError(sentence)
    return state_folder() / name


def forget_refit(key: str) -> bool:
    """Remove the user's own; whether there was one."""
    path = state_folder() / f"{FOLDER}/{key}.json"
    is_there = path.is_file()
    path.unlink(missing_ok=True)
    return is_there


def write_copy(bundle: Bundle, target: Path, refit: Refit, *, replace: bool = False) -> Bundle:
    """A copy of ``bundle`` at ``target`` that brings ``refit`` along. Raises BundleError."""
    import shutil

    from models.bundle import write_bundle
    from models.files import json_bytes
    from models.manifest import Manifest

    roles = {name: record.role for name, record in bundle.manifest.files.items() if record.role != ROLE}

    def fill(folder: Path) -> Manifest:
        for name in roles:
            shutil.copyfile(bundle.path / name, folder / name)
        (folder / BUNDLE_FILE).write_bytes(json_bytes(refit.to_json()))
        return bundle.manifest

    return write_bundle(target, {**roles, BUNDLE_FILE: ROLE}, fill, replace=replace)
