"""models.bundle and models.manifest: written whole or not at all, a damaged file is named."""

from __future__ import annotations

import copy
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import tiny_config

from models.bundle import open_bundle, verify_bundle, write_bundle
from models.dialect import Sampling
from models.errors import BundleError
from models.manifest import Manifest, manifest_from_json, manifest_to_json
from models.spec import spec_from_config

ROLES = {"model.gguf": "gguf", "tokenizer.json": "tokenizer"}
MANIFEST = Manifest(
    name="tiny",
    spec=spec_from_config(tiny_config()),
    dialect="hipo",
    dialect_reason="its chat template has <judge>",
    bos_token_id=None,
    stop_token_ids=(263, 261),
    recipe={"group_size": 32},
    sampling=Sampling(temperature=0.6, top_k=20, top_p=0.95),
    tensor_errors={"blk.0.attn_q.weight": 0.08},
    source="a test",
    created_by="edge-think 0",
    files={},
)


def fill(folder: Path) -> Manifest:
    """Two small files."""
    (folder / "model.gguf").write_bytes(b"weights")
    (folder / "tokenizer.json").write_bytes(b"{}")
    return MANIFEST


def fill_anew(folder: Path) -> Manifest:
    """The same with other weights."""
    fill(folder)
    (folder / "model.gguf").write_bytes(b"newer weights")
    return MANIFEST


def fill_half(folder: Path) -> Manifest:
    """Dies in the middle."""
    fill(folder)
    raise KeyboardInterrupt


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a bundle goes; its parent does not exist yet."""
    return tmp_path / "models" / "tiny"


def siblings(target: Path) -> set[str]:
    """Everything beside and at the target."""
    return {path.name for path in target.parent.iterdir()}


def test_a_written_bundle_opens_and_verifies(target: Path) -> None:
    written = write_bundle(target, ROLES, fill)
    opened = verify_bundle(target)
    assert opened == written
    assert (opened.name, opened.dialect_name, opened.stop_token_ids) == ("tiny", "hipo", (263, 261))
    assert (opened.bos_token_id, opened.spec) == (None, MANIFEST.spec)
    assert (opened.gguf_path, opened.tokenizer_path) == (target / "model.gguf", target / "tokenizer.json")
    assert siblings(target) == {"tiny"}
    with pytest.raises(BundleError, match="holds no onnx file"):
        opened.file("onnx")


def test_the_same_content_gives_the_same_bytes(target: Path, tmp_path: Path) -> None:
    write_bundle(target, ROLES, fill)
    write_bundle(tmp_path / "again", ROLES, fill)
    assert (target / "bundle.json").read_bytes() == (tmp_path / "again" / "bundle.json").read_bytes()


def test_an_interrupted_run_leaves_nothing(target: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_bundle(target, ROLES, fill_half)
    assert siblings(target) == set()


def test_what_a_killed_run_left_is_cleared(target: Path) -> None:
    """A run killed with SIGKILL cannot clean up; the next one must, or the leftovers would end up in the bundle."""
    partial = target.parent / ".tiny.partial"
    partial.mkdir(parents=True)
    (partial / "half.gguf").write_bytes(b"half")
    write_bundle(target, ROLES, fill)
    assert siblings(target) == {"tiny"}
    assert {path.name for path in target.iterdir()} == {"bundle.json", *ROLES}


def test_an_existing_target_is_kept_unless_replaced(target: Path) -> None:
    write_bundle(target, ROLES, fill)
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(target, ROLES, fill_anew)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(target, ROLES, fill_half, replace=True)
    assert verify_bundle(target).gguf_path.read_bytes() == b"weights"
    assert write_bundle(target, ROLES, fill_anew, replace=True).gguf_path.read_bytes() == b"newer weights"
    assert siblings(target) == {"tiny"}


def test_a_folder_that_is_no_bundle_is_never_replaced(target: Path) -> None:
    """`--replace` pointed at a home folder must not empty it."""
    target.mkdir(parents=True)
    (target / "letter.txt").write_text("dear")
    with pytest.raises(BundleError, match="is not a bundle"):
        write_bundle(target, ROLES, fill, replace=True)
    assert (target / "letter.txt").read_text() == "dear"
    assert siblings(target) == {"tiny"}


def test_a_run_killed_between_the_two_renames_loses_nothing(target: Path) -> None:
    write_bundle(target, ROLES, fill)
    os.rename(target, target.parent / ".tiny.old")
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(target, ROLES, fill_anew)
    assert verify_bundle(target).gguf_path.read_bytes() == b"weights"


def test_two_writers_do_not_mix(target: Path) -> None:
    partial = target.parent / ".tiny.partial"
    partial.mkdir(parents=True)
    (partial / "mine").write_bytes(b"still writing")
    handle = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(BundleError, match="Another process is writing"):
            write_bundle(target, ROLES, fill)
    finally:
        os.close(handle)
    assert (partial / "mine").exists()


def test_a_full_disk_is_one_sentence(target: Path) -> None:
    def full(folder: Path) -> Manifest:
        raise OSError(28, "No space left on device")

    with pytest.raises(BundleError, match="cannot be written: No space left on device"):
        write_bundle(target, ROLES, full)
    assert siblings(target) == set()


def test_a_manifest_that_could_not_be_opened_is_not_written(target: Path) -> None:
    def without_stop(folder: Path) -> Manifest:
        fill(folder)
        value = manifest_to_json(MANIFEST) | {"stop_token_ids": ()}
        del value["format_version"]
        return Manifest(**(value | {"spec": MANIFEST.spec}))

    with pytest.raises(BundleError, match="stop_token_ids"):
        write_bundle(target, ROLES, without_stop)
    assert siblings(target) == set()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda bundle: (bundle / "model.gguf").unlink(), r"lacks its file model\.gguf"),
        (lambda bundle: (bundle / "model.gguf").write_bytes(b"weight"), r"model\.gguf has 6 bytes.*says 7"),
        (lambda bundle: (bundle / "bundle.json").unlink(), r"bundle\.json does not exist"),
        (lambda bundle: (bundle / "bundle.json").write_bytes(b"{"), r"bundle\.json is not valid JSON"),
    ],
)
def test_a_damaged_bundle_names_the_file(target: Path, damage: Callable[[Path], Any], sentence: str) -> None:
    write_bundle(target, ROLES, fill)
    damage(target)
    with pytest.raises(BundleError, match=sentence):
        open_bundle(target)


def test_verify_finds_what_sizes_do_not_show(target: Path) -> None:
    write_bundle(target, ROLES, fill)
    (target / "model.gguf").write_bytes(b"Weights")
    open_bundle(target)
    with pytest.raises(BundleError, match=r"model\.gguf does not match its sha256"):
        verify_bundle(target)


def test_a_missing_folder_is_named(target: Path) -> None:
    with pytest.raises(BundleError, match="no bundle folder"):
        open_bundle(target)


def valid_json() -> dict[str, Any]:
    """A manifest as it lies on the disk, with its files."""
    value: dict[str, Any] = json.loads(json.dumps(manifest_to_json(MANIFEST)))
    value["files"] = {"model.gguf": {"role": "gguf", "bytes": 7, "sha256": "0" * 64}}
    return value


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/b", "..", ".hidden", "", "a\\b", "a\n", "bundle.json"])
def test_a_file_name_cannot_leave_the_folder(name: str) -> None:
    value = valid_json()
    value["files"] = {name: value["files"]["model.gguf"]}
    with pytest.raises(BundleError, match="do not trust it"):
        manifest_from_json(value)


@pytest.mark.parametrize("version", [0, 3, "1", True, None])
def test_another_format_version_is_refused_first(version: Any) -> None:
    """A newer format must be called newer, not damaged."""
    with pytest.raises(BundleError, match="format version"):
        manifest_from_json({"format_version": version, "new_field": 1})


def test_a_bundle_of_the_first_format_is_read() -> None:
    """It has no report; who made one does not have to make it again."""
    value = manifest_to_json(MANIFEST) | {"format_version": 1}
    del value["report"]
    assert manifest_from_json(json.loads(json.dumps(value))) == MANIFEST


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON object."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


JUNK = (None, True, -1, 0, 1.5, 10**400, "", "x", [], [1], {}, {"a": 1}, "9" * 64)


def changed_manifests(path: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """Manifests in which the value at ``path`` is gone, has company, or is something else."""
    for change in ("remove", "add", *JUNK):
        value = copy.deepcopy(valid_json())
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        if change == "remove":
            del holder[path[-1]]
        elif change == "add":
            holder.update(unknown=1) if isinstance(holder, dict) else holder.append(1)
        else:
            holder[path[-1]] = change
        yield value


@pytest.mark.parametrize("path", list(paths(valid_json())), ids=str)
def test_any_change_is_read_or_refused_in_one_sentence(path: tuple[Any, ...]) -> None:
    """A hand-edited or damaged bundle.json gave a TypeError, or an OverflowError, far from its cause."""
    for value in changed_manifests(path):
        try:
            manifest = manifest_from_json(value)
        except BundleError as exc:
            assert "bundle.json" in str(exc)
        else:
            assert manifest_from_json(json.loads(json.dumps(manifest_to_json(manifest)))) == manifest
