"""A model on a hub becomes files on this machine, through huggingface_hub and its cache.

Knows: how a hub model is named, which of its files are needed, and what can go wrong on the way. A connection that
breaks is gone on with, and a run that ends early keeps its finished files. HF_ENDPOINT, HF_HUB_OFFLINE, HF_HUB_CACHE
and HF_TOKEN mean what they mean everywhere.
Does not know: what becomes of the files.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import CheckpointError, HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CONFIG, INDEX, WHOLE = "config.json", "model.safetensors.index.json", "model.safetensors"
SMALL_FILES = (
    CONFIG,
    INDEX,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
SPARE_BYTES = 64 * 2**20  # left free on the disk by a download

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_HUB_NAME = re.compile(rf"({_WORD}/{_WORD})(?:/((?:{_WORD}/)*{_WORD}\.gguf))?")


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository as ``org/name``, and the GGUF file of it that is meant, None where it has only one or none."""

    repository: str
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}/{self.file}" if self.file else self.repository


@dataclass(frozen=True, slots=True)
class FetchedModel:
    """``path`` is a GGUF file, or the folder of a checkpoint; ``revision`` the commit that it is."""

    path: Path
    revision: str
    is_gguf: bool


def parse_hub_name(text: str) -> HubName | None:
    """``org/name`` or ``org/name/file.gguf``; None for what cannot be a model on a hub."""
    match = _HUB_NAME.fullmatch(text)
    if match is None or "--" in text or ".." in text or match[1].endswith(".gguf"):
        return None
    return HubName(match[1], match[2])


def fetch_model(name: HubName, *, shows_progress: bool = False) -> FetchedModel:
    """Bring the needed files of a hub model here, those that are not here yet; without a network, use what is here.

    A family or a quantization that cannot be used is refused before its weights are fetched. Raises HubError when the
    model cannot be had, UnknownFamilyError or CheckpointError when it cannot be used.
    """
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
    except _UnreachableError as exc:
        return _from_cache(name, f"{api.endpoint} cannot be reached ({exc})")
    sizes = {file.rfilename: file.size or 0 for file in siblings}
    gguf = choose_gguf(name, sizes)
    try:
        with _hub_errors(name):
            if gguf is not None:
                return _downloaded_gguf(api, name, gguf, sizes)
            return _downloaded_checkpoint(api, name, sizes)
    except _UnreachableError as exc:
        raise HubError(f"The connection broke while {name} was fetched ({exc}); run it again to go on.") from exc


def choose_gguf(name: HubName, files: Collection[str]) -> str | None:
    """The GGUF file that ``name`` means; None where the repository is a checkpoint. Raises HubError for neither."""
    ggufs = sorted(file for file in files if file.endswith(".gguf"))
    examples = f"; it has {', '.join(ggufs[:4])}{' and more' if len(ggufs) > 4 else ''}" if ggufs else ""
    if name.file:
        if name.file not in files:
            raise HubError(f"{name.repository} has no file {name.file}{examples}.")
        return _unsplit(name.file)
    if CONFIG in files and any("/" not in file and file.endswith(".safetensors") for file in files):
        return None
    if len(ggufs) == 1:
        return _unsplit(ggufs[0])
    if ggufs:
        raise HubError(f"{name} has {len(ggufs)} GGUF files; name one, as in {name}/{ggufs[0]}{examples}.")
    raise HubError(f"{name} has neither safetensors with a {CONFIG} nor a GGUF file, so it cannot be used here.")


def _unsplit(file: str) -> str:
    if re.search(r"-\d{5}-of-\d{5}\.gguf$", file):
        raise HubError(f"{file} is one part of a split model; fetch all parts and merge them with llama-gguf-split.")
    return file


def _downloaded_gguf(api: HfApi, name: HubName, file: str, sizes: Mapping[str, int]) -> FetchedModel:
    _check_space(name, (file,), sizes)
    path = Path(api.hf_hub_download(name.repository, file))
    return FetchedModel(path, path.parents[file.count("/")].name, is_gguf=True)


def _downloaded_checkpoint(api: HfApi, name: HubName, sizes: Mapping[str, int]) -> FetchedModel:
    small = [file for file in SMALL_FILES if file in sizes]
    folder = Path(api.snapshot_download(name.repository, allow_patterns=small))
    weights = _weights(folder, sizes)
    _check_space(name, weights, sizes)
    folder = Path(api.snapshot_download(name.repository, allow_patterns=[*small, *weights]))
    return FetchedModel(folder, folder.name, is_gguf=False)


def _weights(folder: Path, files: Collection[str]) -> list[str]:
    """The files with the tensors of a checkpoint whose small files are in ``folder``, if it can be used at all."""
    from models.files import read_json_object
    from models.packing import packing_from_config
    from models.spec import spec_from_config

    config = read_json_object(folder / CONFIG, CheckpointError)
    spec_from_config(config)
    packing_from_config(config)
    if INDEX in files:
        shards = read_json_object(folder / INDEX, CheckpointError).get("weight_map")
        if isinstance(shards, dict) and shards:
            return sorted({str(shard) for shard in shards.values()})
    if WHOLE in files:
        return [WHOLE]
    return sorted(file for file in files if "/" not in file and file.endswith(".safetensors"))


def _check_space(name: HubName, files: Collection[str], sizes: Mapping[str, int]) -> None:
    """Raises HubError when what is still missing does not fit on the disk."""
    import huggingface_hub as hub

    missing = [file for file in files if not isinstance(hub.try_to_load_from_cache(name.repository, file), str)]
    wanted = sum(sizes.get(file, 0) for file in missing)
    place = Path(hub.constants.HF_HUB_CACHE)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if wanted and wanted + SPARE_BYTES > free:
        raise HubError(
            f"{name} needs {wanted / 1e9:.1f} GB more, but {place} has {free / 1e9:.1f} GB free; "
            "make room, or set HF_HUB_CACHE to another disk."
        )


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
    if isinstance(found, str) and _has_weights(Path(found).parent):
        return FetchedModel(Path(found).parent, Path(found).parent.name, is_gguf=False)
    try:
        folder = Path(hub.snapshot_download(name.repository, local_files_only=True, allow_patterns=["*.gguf"]))
    except LocalEntryNotFoundError as exc:
        raise HubError(_not_here(name, reason)) from exc
    ggufs = [file for file in folder.rglob("*.gguf") if not name.file]
    if len(ggufs) != 1:
        raise HubError(_not_here(name, reason))
    return FetchedModel(ggufs[0], folder.name, is_gguf=True)


def _has_weights(folder: Path) -> bool:
    """Whether all tensors of a checkpoint are here."""
    names = {path.name for path in folder.iterdir()}
    weights = _weights(folder, names)
    return bool(weights) and names.issuperset(weights)


def _not_here(name: HubName, reason: str) -> str:
    return f"{name} is not (wholly) on this machine, and {reason}; connect to the network and run it again."


class _UnreachableError(Exception):
    """The hub does not answer; str() is the reason in a few words."""


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
        raise _UnreachableError(type(exc).__name__) from exc
    except errors.HFValidationError as exc:
        raise HubError(f"{name.repository!r} cannot be the name of a repository; check it.") from exc
    except OSError as exc:
        if exc.errno == errno.ENOSPC:
            raise HubError(
                f"The disk is full, {name} could not be fetched whole; make room and run it again, what is here "
                "already is kept."
            ) from exc
        raise HubError(f"{name} could not be fetched ({exc.strerror or exc}); run it again.") from exc
    except (RuntimeError, getattr(errors, "XetDownloadError", RuntimeError)) as exc:  # of the faster transfer
        raise HubError(f"The transfer of {name} failed ({exc}); run it again.") from exc
