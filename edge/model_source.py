"""Where a model comes from: an embedded bundle, a bundle's folder, a GGUF file, or one that was pulled from a hub.

Knows: what a caller may write as the model. Does not know: how a model is loaded, or what is inside its tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import models
from edge.backends.base import BACKENDS
from edge.model_cache import find_entry
from models.errors import BundleError
from models.hub import HubName, parse_hub_name

if TYPE_CHECKING:
    from models.bundle import Bundle

GGUF_MAGIC = b"GGUF"
WEIGHTS_ROLES = tuple(dict.fromkeys(row.weights_role for row in BACKENDS.values()))
DEFAULT_MODEL = "spark"
EMBEDDED_FOLDERS = {"spark": "spark", "spark-hunyuan": "spark_hunyuan"}  # in the package ``models``, by name


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model on disk: its weights by role (one of ``WEIGHTS_ROLES``), at least one. ``bundle``: None for bare GGUF."""

    name: str
    weights: Mapping[str, Path]
    bundle: Bundle | None

    @property
    def gguf_path(self) -> Path:
        """The weights for llama.cpp. Raises BundleError when there are none."""
        return self.weights_path("gguf")

    def weights_path(self, role: str) -> Path:
        """The weights of this role. Raises BundleError when there are none."""
        if role not in self.weights:
            file_format = role.partition("_")[0]
            raise BundleError(
                f"The model {self.name!r} has no {role} weights, only {', '.join(self.weights)}; make the bundle again "
                f"with `edge quantize CHECKPOINT BUNDLE --format {file_format}`, or choose another backend."
            )
        return self.weights[role]


def embedded_bundle_path(name: str = DEFAULT_MODEL) -> Path:
    """The folder of a bundle that ships with the package; ``name`` is one of EMBEDDED_FOLDERS."""
    return Path(models.__file__ or "").parent / EMBEDDED_FOLDERS[name] / "bundle"


def find_model(model: str | Path | None) -> ModelSource:
    """Resolve what a caller wrote; None is the default model, ``org/name`` one that was pulled from a hub.

    The name of an embedded model comes first: a folder of that name is ``./spark``. Nothing is fetched here.
    Raises BundleError when there is no such model, saying what to run for one on a hub.
    """
    if model is None or model in EMBEDDED_FOLDERS:
        path = embedded_bundle_path(DEFAULT_MODEL if model is None else str(model))
        if not path.is_dir():
            raise BundleError(
                f"This installation lacks its embedded model ({path}); install it again, or name a model."
            )
        return _from_bundle(path)
    try:
        path = Path(model).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as exc:  # too long a name, a folder that is closed to us; a home that is not there
        reason = exc.strerror if isinstance(exc, OSError) else str(exc).rstrip(".")
        raise BundleError(f"The model {str(model)!r} cannot be looked up ({reason}); check its path.") from exc
    if is_folder:
        return _from_bundle(path)
    if is_file:
        return _from_file(path)
    if name := parse_hub_name(str(model)):
        return find_model(_pulled(name))
    raise BundleError(
        f"There is no model at {str(model)!r}; name a bundle's folder, a .gguf file, or an embedded model "
        f"({', '.join(EMBEDDED_FOLDERS)})."
    )


def _pulled(name: HubName) -> Path:
    path = find_entry(name)
    if path is None:
        raise BundleError(
            f"There is no model at {str(name)!r}; if it is the name of one on a hub, run `edge models pull {name}`."
        )
    return path


def _from_bundle(path: Path) -> ModelSource:
    from models.bundle import open_bundle

    bundle = open_bundle(path)
    found = {role: bundle.find_file(role) for role in WEIGHTS_ROLES}
    weights = {role: file for role, file in found.items() if file is not None}
    if not weights:
        raise BundleError(
            f"The bundle {path} holds no weights; attach them with `edge models attach`, or make the bundle again."
        )
    return ModelSource(bundle.name, weights, bundle)


def _from_file(path: Path) -> ModelSource:
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as exc:
        raise BundleError(f"The model file {path} cannot be read ({exc.strerror}); check its permissions.") from exc
    if magic != GGUF_MAGIC:
        raise BundleError(f"The file {path} is not a GGUF model (it begins with {magic!r}); name a .gguf file.")
    return ModelSource(path.stem, {"gguf": path}, None)
