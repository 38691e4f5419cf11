"""Where the outcome of ``edge calibrate`` is kept: the user's state folder, or the bundle itself.

Knows: files, and which weights one belongs to. Does not know: what is in them (``think.refit``), or how it was found.
A bundle is hashed and may be read-only, so what a user's own prompts taught lies beside it, and comes first. Weights
that were trained again have the name and the size of the old ones and other outcomes: only their hash tells them apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.model_source import WEIGHTS_ROLES, ModelSource
from edge.state import read_state, state_folder, write_state
from models.errors import BundleError

if TYPE_CHECKING:
    from edge.think.refit import Refit
    from models.bundle import Bundle

FOLDER = "calibrated"
ROLE, BUNDLE_FILE = "router", "router.json"
NUM_SAMPLES, SAMPLE_BYTES = 64, 4096  # of a bare file, which brings no hash and may be too long to read on every load


@dataclass(frozen=True, slots=True)
class Owner:
    """The model that outcomes belong to; ``weights`` is a hash of its very weights."""

    name: str
    dialect: str
    weights: str

    @property
    def family(self) -> str:
        """Names the files of all weights with this name and dialect."""
        return hashlib.sha256(f"{self.name}\0{self.dialect}".encode()).hexdigest()[:16]

    @property
    def state_name(self) -> str:
        """The state file of what was learned."""
        return f"{FOLDER}/{self.family}-{self.weights[:16]}.json"

    @property
    def rows_path(self) -> Path:
        """The file of what was measured. Raises OSError for a user without a home folder."""
        return state_folder() / FOLDER / f"{self.family}-{self.weights[:16]}.rows.jsonl"


def owner_of(source: ModelSource, dialect: str) -> Owner:
    """Whose outcomes those of ``source`` are, whatever backend answers."""
    role = next(role for role in WEIGHTS_ROLES if role in source.weights)
    if source.bundle is None:
        return Owner(source.name, dialect, _sampled_hash(source.weights[role]))
    form = role.partition("_")[0]  # a format may keep its numbers in a second file
    files = source.bundle.manifest.files.values()
    hashes = sorted(record.sha256 for record in files if record.role.partition("_")[0] == form)
    return Owner(source.name, dialect, hashlib.sha256("".join(hashes).encode()).hexdigest())


def _sampled_hash(path: Path) -> str:
    """A hash of a file's size and of pieces from all over it; empty where it cannot be read."""
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            for place in range(NUM_SAMPLES):
                file.seek(place * max(size - SAMPLE_BYTES, 0) // (NUM_SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()


def find_refit(owner: Owner, bundle: Bundle | None) -> tuple[Refit | None, tuple[str, ...]]:
    """The user's own, else the bundle's, else None; what is damaged or of another version counts as not there.

    With it sentences for the user: what was learned from other weights, or over another router, is passed over.
    """
    value = read_state(owner.state_name)
    if not value and bundle is not None and (path := bundle.find_file(ROLE)) is not None:
        value = _read_file(path)
    if not value:
        return None, _notes_on_others(owner)
    if value.get("made_for") != _made_for(owner):
        return None, (_passed_over(owner, "other weights or an older router"),)
    refit = _read(value)
    return refit, () if refit is not None else (_passed_over(owner, "another version of this program"),)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _read(value: Mapping[str, Any]) -> Refit | None:
    from edge.think.refit import Refit

    try:
        return Refit.from_json(value)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _made_for(owner: Owner) -> dict[str, str]:
    """What a refit is worth something with: these weights, and the router whose inputs its layer weighs."""
    from edge.think.router_weights import weights_hash

    return {"weights": owner.weights, "router": weights_hash()}


def _notes_on_others(owner: Owner) -> tuple[str, ...]:
    try:
        others = list((state_folder() / FOLDER).glob(f"{owner.family}-*.json"))
    except OSError:
        others = []
    return (_passed_over(owner, "other weights of that name"),) if others else ()


def _passed_over(owner: Owner, belongs_to: str) -> str:
    return (
        f"What edge calibrate learned about {owner.name} belongs to {belongs_to} and is not used; "
        "run edge calibrate again, or with --forget."
    )


def keep_refit(owner: Owner, refit: Refit) -> Path:
    """Write it into the state folder; gives the file. Raises BundleError where that is impossible."""
    if sentence := write_state(owner.state_name, {"made_for": _made_for(owner), **refit.to_json()}):
        raise BundleError(sentence)
    return state_folder() / owner.state_name


def forget_refit(owner: Owner) -> bool:
    """Remove the user's own, with what was measured for it, also of other weights of that name; whether any was there.

    Raises OSError where a file cannot be removed.
    """
    paths = list((state_folder() / FOLDER).glob(f"{owner.family}-*.json*"))
    for path in paths:
        path.unlink(missing_ok=True)
    return bool(paths)


def write_copy(bundle: Bundle, target: Path, refit: Refit, owner: Owner, *, replace: bool = False) -> Bundle:
    """A copy of ``bundle``, which is ``owner``, at ``target`` that brings ``refit`` along. Raises BundleError."""
    import shutil

    from models.bundle import write_bundle
    from models.files import json_bytes
    from models.manifest import Manifest

    roles = {name: record.role for name, record in bundle.manifest.files.items() if record.role != ROLE}
    value = {"made_for": _made_for(owner), **refit.to_json()}

    def fill(folder: Path) -> Manifest:
        for name in roles:
            shutil.copyfile(bundle.path / name, folder / name)
        (folder / BUNDLE_FILE).write_bytes(json_bytes(value))
        return bundle.manifest

    return write_bundle(target, {**roles, BUNDLE_FILE: ROLE}, fill, replace=replace)
