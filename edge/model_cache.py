"""The models that came from a hub, each ready to be loaded: bundles, and links to GGUF files.

Knows: the folder (``EDGE_MODELS``, else ``edge-think/models`` in XDG_CACHE_HOME or ``~/.cache``) and its names:
``org/name`` is the entry ``org--name``. Does not know: how an entry is fetched or made.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from models.errors import BundleError
from models.hub import HubName, parse_hub_name


def cache_folder() -> Path:
    """Where the entries are; it need not exist."""
    if named := os.environ.get("EDGE_MODELS"):
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "edge-think" / "models"


def entry_path(name: HubName) -> Path:
    """Where the model ``name`` is kept, whether it is there or not."""
    return cache_folder() / str(name).replace("/", "--")


def find_entry(name: HubName) -> Path | None:
    """The bundle's folder or the GGUF file of a model that was pulled; None where there is none (any more)."""
    path = entry_path(name)
    if path.is_symlink():
        path = path.readlink()  # one step only: the file's name is the model's, the blob behind it has none
    return path if path.exists() else None


def list_entries() -> list[HubName]:
    """All models that were pulled, by name."""
    folder = cache_folder()
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found = (parse_hub_name(name.replace("--", "/")) for name in names)
    return [name for name in found if name is not None]


def link_entry(name: HubName, gguf_path: Path) -> None:
    """Make the entry of a model that is a GGUF file already. Raises BundleError where the folder cannot be written."""
    path = entry_path(name)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.symlink_to(gguf_path.absolute())
        os.replace(fresh, path)
    except OSError as exc:
        fresh.unlink(missing_ok=True)
        raise BundleError(f"{path} cannot be written ({exc.strerror}); set EDGE_MODELS to another folder.") from exc


def remove_entry(name: HubName) -> None:
    """Forget a model that was pulled; what the hub's own cache holds of it stays. Raises BundleError."""
    path = entry_path(name)
    if not path.is_symlink() and not path.is_dir():
        raise BundleError(f"{name} was not pulled; edge models list shows what was.")
    try:
        if path.is_symlink():
            path.unlink()
        else:  # out of sight at once, so that a killed run leaves no half of a bundle
            os.rename(path, path.with_name(f".{path.name}.{secrets.token_hex(4)}.removed"))
        for leaving in path.parent.glob(".*.removed"):  # those of killed runs too
            shutil.rmtree(leaving)
    except OSError as exc:
        raise BundleError(f"{path} cannot be removed ({exc.strerror}); check its permissions.") from exc
