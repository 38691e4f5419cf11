"""A model on a hub becomes files on this machine: how it is named, which of its files are needed, whether they fit.

Knows: names on Hugging Face (``org/name``) and on ModelScope (``modelscope:org/name``). Does not know: how a hub is
spoken to (models.huggingface and models.modelscope do), or what becomes of the files.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from models.errors import CheckpointError, HubError

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
MODELSCOPE = "modelscope:"

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_HUB_NAME = re.compile(rf"({MODELSCOPE})?({_WORD}/{_WORD})(?:/((?:{_WORD}/)*{_WORD}\.gguf))?")


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository as ``org/name``, and the GGUF file of it that is meant, None where it has only one or none."""

    repository: str
    file: str | None = None
    is_on_modelscope: bool = False

    def __str__(self) -> str:
        name = f"{self.repository}/{self.file}" if self.file else self.repository
        return f"{MODELSCOPE}{name}" if self.is_on_modelscope else name


@dataclass(frozen=True, slots=True)
class FetchedModel:
    """``path`` is a GGUF file, or the folder of a checkpoint; ``revision`` the commit that it is, or the branch."""

    path: Path
    revision: str
    is_gguf: bool


def parse_hub_name(text: str) -> HubName | None:
    """``org/name`` or ``org/name/file.gguf``, after ``modelscope:`` or not; None for what cannot be a name."""
    match = _HUB_NAME.fullmatch(text)
    if match is None or "--" in text or ".." in text or match[2].endswith(".gguf"):
        return None
    return HubName(match[2], match[3], match[1] is not None)


def fetch_model(name: HubName, *, shows_progress: bool = False) -> FetchedModel:
    """Bring the needed files of a hub model here, those that are not here yet; without a network, use what is here.

    A family or a quantization that cannot be used is refused before its weights are fetched. Raises HubError when the
    model cannot be had, UnknownFamilyError or CheckpointError when it cannot be used.
    """
    if name.is_on_modelscope:
        from models.modelscope import fetch_from_modelscope

        return fetch_from_modelscope(name, shows_progress=shows_progress)
    from models.huggingface import fetch_from_hugging_face

    return fetch_from_hugging_face(name, shows_progress=shows_progress)


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


def weight_files(folder: Path, files: Collection[str]) -> list[str]:
    """The files with the tensors of a checkpoint whose small files are in ``folder``.

    Raises UnknownFamilyError or CheckpointError for one that cannot be used at all.
    """
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


def check_space(name: HubName, wanted_bytes: int, cache: Path, variable: str) -> None:
    """Raises HubError when what is still missing does not fit into ``cache``, which ``variable`` can move."""
    place = cache
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if wanted_bytes and wanted_bytes + SPARE_BYTES > free:
        raise HubError(
            f"{name} needs {wanted_bytes / 1e9:.1f} GB more, but {place} has {free / 1e9:.1f} GB free; "
            f"make room, or set {variable} to another disk."
        )


def has_weights(folder: Path) -> bool:
    """Whether all tensors of a checkpoint are here."""
    names = {path.name for path in folder.iterdir()}
    weights = weight_files(folder, names)
    return bool(weights) and names.issuperset(weights)


def not_here(name: HubName, reason: str) -> HubError:
    """What to say of a model that was never wholly fetched, where nothing can be fetched now."""
    return HubError(f"{name} is not (wholly) on this machine, and {reason}; connect to the network and run it again.")


def disk_error(name: HubName, exc: OSError) -> HubError:
    """What to say when files cannot be written."""
    if exc.errno == errno.ENOSPC:
        return HubError(
            f"The disk is full, {name} could not be fetched whole; make room and run it again, what is here "
            "already is kept."
        )
    return HubError(f"{name} could not be fetched ({exc.strerror or exc}); run it again.")


class UnreachableError(Exception):
    """A hub does not answer; str() is the reason in a few words."""
