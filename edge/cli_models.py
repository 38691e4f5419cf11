"""The commands ``edge models pull | list | inspect | verify | attach | remove``.

Knows: their arguments and what they print. Does not know: how a model is fetched, or made (``cli_quantize``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli_quantize import fetch_model, make_bundle
from models.errors import BundleError, UsageError

if TYPE_CHECKING:
    from models.hub import HubName

ATTACHED_ROLES = ("rkllm",)  # by the ending of the file; other weights are written with their bundle

HubModelName = Annotated[
    str, typer.Argument(metavar="NAME", help="org/name, org/name/file.gguf, or modelscope:org/name.")
]


def pull(
    name: HubModelName,
    replace: Annotated[bool, typer.Option("--replace", help="Fetch and make it again, though it is there.")] = False,
) -> int:
    """Fetch a model from a hub and make it ready: int4 is taken over as it is, floats are quantized, GGUF is used."""
    from edge.model_cache import find_entry
    from edge.model_source import find_model

    wanted = hub_name(name)
    if replace or find_entry(wanted) is None:
        pull_model(wanted, replace=replace)
    find_model(name)  # one that was damaged since is not ready
    typer.echo(f'{name} is ready; try: edge-chat --model {name} "2+3=?"')
    return 0


def verify(
    model: Annotated[str, typer.Argument(metavar="BUNDLE", help="A folder, an embedded or a pulled model.")],
) -> int:
    """Compare every file of a bundle with its hash."""
    from edge.model_source import EMBEDDED_FOLDERS, find_model
    from models.bundle import verify_bundle

    path = Path(model)
    if (model in EMBEDDED_FOLDERS or not path.exists()) and (found := find_model(model).bundle):
        path = found.path
    elif not path.is_dir():
        raise BundleError(f"{model} is not a bundle's folder; only bundles hold the hashes of their files.")
    bundle = verify_bundle(path)
    typer.echo(f"{model}: all {len(bundle.manifest.files)} files are as they were written.")
    return 0


def attach(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of a bundle.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .rkllm file of the same model.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace the one that the bundle has.")] = False,
) -> int:
    """Add weights that another program made to a bundle; the file is copied, its size and hash are recorded."""
    from models.attachment import attach_file

    role = file.suffix.removeprefix(".")
    if role not in ATTACHED_ROLES:
        raise UsageError(f"{file} cannot be attached; name a file that ends with .{' or .'.join(ATTACHED_ROLES)}.")
    made = attach_file(bundle, file, role, replace=replace)
    typer.echo(f"{bundle} holds {made.file(role).name} now; {file} is no longer needed.")
    return 0


def inspect(
    model: Annotated[str, typer.Argument(metavar="PATH", help="A folder, a file, an embedded or a pulled model.")],
) -> int:
    """Say what a bundle or a GGUF file holds, without loading it."""
    from edge.inspection import describe_model

    typer.echo(describe_model(model))
    return 0


def list_models() -> int:
    """List the models that are ready: the embedded ones, and those that were pulled."""
    from edge.model_cache import cache_folder, find_entry, list_entries
    from edge.model_source import DEFAULT_MODEL, EMBEDDED_FOLDERS, embedded_bundle_path

    for embedded in EMBEDDED_FOLDERS:
        note = "embedded, the default" if embedded == DEFAULT_MODEL else "embedded"
        typer.echo(f"{_size(embedded_bundle_path(embedded))}  {embedded} ({note})")
    for name in list_entries():
        typer.echo(f"{_size(find_entry(name))}  {name}")
    typer.echo(f"Pulled models are in {cache_folder()}.", err=True)
    return 0


def _size(path: Path | None) -> str:
    """The bytes of an entry, ten wide; a link whose file was deleted is gone."""
    if path is None or not path.exists():
        return f"{'gone':>10}"
    files = path.iterdir() if path.is_dir() else (path,)
    return f"{sum(file.stat().st_size for file in files) / 1e6:7.1f} MB"


def remove(name: HubModelName) -> int:
    """Remove a pulled model. What the hub's own cache holds of it stays (see: hf cache)."""
    from edge.model_cache import remove_entry

    remove_entry(hub_name(name))
    typer.echo(f"{name} is removed.")
    return 0


def hub_name(text: str) -> HubName:
    """Raises UsageError for what cannot be a model on a hub."""
    from models.hub import parse_hub_name

    name = parse_hub_name(text)
    if name is None:
        raise UsageError(
            f"{text!r} is not the name of a model on a hub; write org/name, org/name/file.gguf or modelscope:org/name."
        )
    return name


def pull_model(name: HubName, *, replace: bool = False) -> None:
    """Fetch ``name`` and make its entry in the cache of models. Raises EdgeError; the entry is whole or not there."""
    from edge.model_cache import entry_path, link_entry

    typer.echo(f"Fetching {name} ...", err=True)
    fetched = fetch_model(name)
    if fetched.is_gguf:
        link_entry(name, fetched.path)
        return
    typer.echo(f"Making a bundle of {name} ...", err=True)
    own_name, origin = name.repository.split("/")[1], f"{name} at {fetched.revision}"
    make_bundle(fetched.path, entry_path(name), {}, name=own_name, origin=origin, replace=replace)


def ready_model(model: str | None) -> str | None:
    """``model`` as ``edge.load`` takes it: one that is named as on a hub, and not here yet, is pulled first."""
    from edge.model_cache import find_entry
    from models.hub import parse_hub_name

    name = None if model is None else parse_hub_name(model)
    if name is not None and not Path(str(name)).exists() and find_entry(name) is None:
        pull_model(name)
    return model
