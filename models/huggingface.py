"""Models on the Hugging Face hub, through huggingface_hub and its cache.

Knows: its listing, its downloads, and what can go wrong on the way. A connection that breaks is gone on with, and a run
that ends early keeps its finished files. HF_ENDPOINT, HF_HUB_OFFLINE, HF_HUB_CACHE and HF_TOKEN mean what they mean
everywhere. Does not know: which files are needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def fetch_from_hugging_face(name: HubName, *, shows_progress: bool = False) -> FetchedModel:
    """See models.hub.fetch_model."""
    import huggingface_hub as hub
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # what matters is said here, in one sentence
    (enable_progress_bars if shows_progress else disable_progress_bars)()
    if hub.constants.HF_HUB_OFFLINE:
        return _from_cache(name, "HF_HUB_OFFLINE is set")
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        with _hub_errors(name):
            siblings = api.model_info(name.repository, files_metadata=True, timeout=20).siblings or []
    except UnreachableError as exc:
        return _from_cache(name, f"{api.endpoint} cannot be reached ({exc})")
    sizes = {file.rfilename: file.size or 0 for file in siblings}
    gguf = choose_gguf(name, sizes)
    try:
        with _hub_errors(name):
            if gguf is not None:
                return _downloaded_gguf(api, name, gguf, sizes)
            return _downloaded_checkpoint(api, name, sizes)
    except UnreachableError as exc:
        raise HubError(f"The connection broke while {name} was fetched ({exc}); run it again to go on.") from exc


def _downloaded_gguf(api: HfApi, name: HubName, file: str, sizes: Mapping[str, int]) -> FetchedModel:
    _check_space(name, (file,), sizes)
    path = Path(api.hf_hub_download(name.repository, file))
    return FetchedModel(path, path.parents[file.count("/")].name, is_gguf=True)


def _downloaded_checkpoint(api: HfApi, name: HubName, sizes: Mapping[str, int]) -> FetchedModel:
    small = [file for file in SMALL_FILES if file in sizes]
    folder = Path(api.snapshot_download(name.repository, allow_patterns=small))
    weights = weight_files(folder, sizes)
    _check_space(name, weights, sizes)
    folder = Path(api.snapshot_download(name.repository, allow_patterns=[*small, *weights]))
    return FetchedModel(folder, folder.name, is_gguf=False)


def _check_space(name: HubName, files: Collection[str], sizes: Mapping[str, int]) -> None:
    import huggingface_hub as hub

    missing = [file for file in files if not isinstance(hub.try_to_load_from_cache(name.repository, file), str)]
    wanted = sum(sizes.get(file, 0) for file in missing)
    check_space(name, wanted, Path(hub.constants.HF_HUB_CACHE), "HF_HUB_CACHE")


def _from_cache(name: HubName, reason: str) -> FetchedModel:
    """What an earlier run has fetched. Raises HubError with the ``reason`` why there is nothing else."""
    with _hub_errors(name):
        return _found_in_cache(name, reason)


def _found_in_cache(name: HubName, reason: str) -> FetchedModel:
    import huggingface_hub as hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    found = hub.try_to_load_from_cache(name.repository, name.file or CONFIG)
    if isinstance(found, str) and name.file:
        return FetchedModel(Path(found), Path(found).parents[name.file.count("/")].name, is_gguf=True)
    if isinstance(found, str) and has_weights(Path(found).parent):
        return FetchedModel(Path(found).parent, Path(found).parent.name, is_gguf=False)
    try:
        folder = Path(hub.snapshot_download(name.repository, local_files_only=True, allow_patterns=["*.gguf"]))
    except LocalEntryNotFoundError as exc:
        raise not_here(name, reason) from exc
    ggufs = [file for file in folder.rglob("*.gguf") if not name.file]
    if len(ggufs) != 1:
        raise not_here(name, reason)
    return FetchedModel(ggufs[0], folder.name, is_gguf=True)


@contextmanager
def _hub_errors(name: HubName) -> Iterator[None]:
    """Everything that huggingface_hub raises, as one sentence."""
    from huggingface_hub import errors

    # What the HTTP package below raises: httpx, its successor, or requests, by the version that is installed.
    foreign = [kind for kind in errors.HfHubHTTPError.__mro__ if kind.__module__ != "builtins"]
    network_error: type[Exception] = foreign[-1]
    try:
        yield
    except errors.GatedRepoError as exc:
        raise HubError(
            f"{name.repository} is gated; accept its terms on its page, then set HF_TOKEN or run `hf auth login`."
        ) from exc
    except errors.RepositoryNotFoundError as exc:
        raise HubError(
            f"There is no model {name.repository!r}, neither here nor on the hub (or it is private, and HF_TOKEN is "
            "needed); check the name."
        ) from exc
    except errors.EntryNotFoundError as exc:
        raise HubError(
            f"{name.repository} changed or the connection broke while it was fetched; run it again."
        ) from exc
    except errors.HfHubHTTPError as exc:
        status = getattr(getattr(exc, "response", None), "status_code", "an error")
        raise HubError(f"The hub answered {status} for {name}; try again later.") from exc
    except (network_error, errors.OfflineModeIsEnabled) as exc:
        raise UnreachableError(type(exc).__name__) from exc
    except errors.HFValidationError as exc:
        raise HubError(f"{name.repository!r} cannot be the name of a repository; check it.") from exc
    except OSError as exc:
        raise disk_error(name, exc) from exc
    except (RuntimeError, getattr(errors, "XetDownloadError", RuntimeError)) as exc:  # of the faster transfer
        raise HubError(f"The transfer of {name} failed ({exc}); run it again.") from exc
