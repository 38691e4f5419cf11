"""Models on ModelScope, through modelscope_hub and its cache.

Knows: its listing, its downloads, and what can go wrong on the way; MODELSCOPE_ENDPOINT, MODELSCOPE_CACHE and
MODELSCOPE_API_TOKEN mean what they mean everywhere, and HF_HUB_OFFLINE keeps this hub from the network too. Does not
know: which files are needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from models.errors import HubError
from models.hub import (
    CONFIG,
    SMALL_FILES,
    FetchedModel,
    HubName,
    UnreachableError,
    check_space,
    choose_gguf,
    disk_error,
    has_weights,
    not_here,
    weight_files,
)

REQUIREMENT = "modelscope-hub>=0.5,<1"
BRANCH = "master"  # the hub's own name for the newest state; its cache is by branch
KIND = "model"


def fetch_from_modelscope(name: HubName, *, shows_progress: bool = False) -> FetchedModel:
    """See models.hub.fetch_model. Raises HubError where the package is not installed, saying how to install it."""
    api = _open_hub(name)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return _from_cache(api, name, "HF_HUB_OFFLINE is set")
    try:
        with _hub_errors(name):
            files = api.list_repo_files(name.repository, KIND)
    except UnreachableError as exc:
        return _from_cache(api, name, f"ModelScope cannot be reached ({exc})")
    sizes = {file.path: file.size for file in files if not file.is_dir}
    gguf = choose_gguf(name, sizes)
    try:
        with _hub_errors(name), nullcontext() if shows_progress else redirect_stderr(StringIO()):
            if gguf is not None:
                return _downloaded_gguf(api, name, gguf, sizes)
            return _downloaded_checkpoint(api, name, sizes)
    except UnreachableError as exc:
        raise HubError(f"The connection broke while {name} was fetched ({exc}); run it again to go on.") from exc


def _open_hub(name: HubName) -> Any:
    try:
        import modelscope_hub
    except ModuleNotFoundError as exc:
        raise HubError(f"{name} needs modelscope-hub, which is not installed; pip install '{REQUIREMENT}'.") from exc
    logging.getLogger("modelscope_hub").setLevel(logging.CRITICAL)  # what matters is said here, in one sentence
    return modelscope_hub.HubApi(modelscope_hub.HubConfig())  # the variables as they are now


def _downloaded_gguf(api: Any, name: HubName, file: str, sizes: Mapping[str, int]) -> FetchedModel:
    is_here = _cached(api, name, file) is not None
    _check_space(name, 0 if is_here else sizes[file])
    return FetchedModel(Path(api.download_file(name.repository, KIND, file)), BRANCH, is_gguf=True)


def _downloaded_checkpoint(api: Any, name: HubName, sizes: Mapping[str, int]) -> FetchedModel:
    small = [file for file in SMALL_FILES if file in sizes]
    folder = Path(api.download_repo(name.repository, KIND, allow_patterns=small))
    weights = weight_files(folder, sizes)
    _check_space(name, sum(sizes[file] for file in weights if file in sizes and not (folder / file).is_file()))
    folder = Path(api.download_repo(name.repository, KIND, allow_patterns=[*small, *weights]))
    return FetchedModel(folder, BRANCH, is_gguf=False)


def _check_space(name: HubName, wanted_bytes: int) -> None:
    from modelscope_hub import HubConfig

    check_space(name, wanted_bytes, HubConfig().cache_dir, "MODELSCOPE_CACHE")


def _from_cache(api: Any, name: HubName, reason: str) -> FetchedModel:
    """What an earlier run has fetched. Raises HubError with the ``reason`` why there is nothing else."""
    if name.file:
        if path := _cached(api, name, name.file):
            return FetchedModel(path, BRANCH, is_gguf=True)
        raise not_here(name, reason)
    folder = _cached(api, name, None)
    if folder is None:
        raise not_here(name, reason)
    if (folder / CONFIG).is_file() and has_weights(folder):
        return FetchedModel(folder, BRANCH, is_gguf=False)
    ggufs = list(folder.rglob("*.gguf"))
    if len(ggufs) != 1:
        raise not_here(name, reason)
    return FetchedModel(ggufs[0], BRANCH, is_gguf=True)


def _cached(api: Any, name: HubName, file: str | None) -> Path | None:
    """A file, or the folder, as far as it is here; None where nothing is."""
    from modelscope_hub.errors import CacheNotFound

    try:
        if file is None:
            return Path(api.download_repo(name.repository, KIND, local_files_only=True))
        return Path(api.download_file(name.repository, KIND, file, local_files_only=True))
    except CacheNotFound:
        return None


@contextmanager
def _hub_errors(name: HubName) -> Iterator[None]:
    """Everything that modelscope_hub raises, as one sentence."""
    from modelscope_hub.errors import FileDownloadError
    from modelscope_hub.errors import HubError as TheirError

    try:
        yield
    except FileDownloadError as exc:  # of several files; the first that failed says why
        raise _translated(name, next(iter(exc.failed_files.values()), exc)) from exc
    except (TheirError, OSError) as exc:
        raise _translated(name, exc) from exc


def _translated(name: HubName, exc: BaseException) -> Exception:
    from modelscope_hub import errors
    from requests import RequestException

    match exc:
        case errors.NotExistError():
            return HubError(
                f"There is no model {name.repository!r}, neither here nor on ModelScope (or it is private, and "
                "MODELSCOPE_API_TOKEN is needed); check the name."
            )
        case errors.AuthenticationError() | errors.PermissionDeniedError():
            return HubError(f"{name.repository} is closed; ask for it on its page, then set MODELSCOPE_API_TOKEN.")
        case errors.NetworkError() | RequestException():  # both are OSErrors too
            return UnreachableError(type(exc).__name__)
        case errors.HubError():
            return HubError(f"ModelScope failed on {name} ({str(exc).splitlines()[0]}); try again later.")
        case OSError():
            return disk_error(name, exc)
    return HubError(f"{name} could not be fetched ({exc}); run it again.")
