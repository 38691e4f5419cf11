"""A checkpoint becomes a bundle: the story on one screen.

Knows: the order of the steps. Does not know: how any of them is done.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from models.bundle import Bundle, check_target, write_bundle
from models.checkpoint import Checkpoint, open_checkpoint
from models.errors import BundleError
from models.files import disk_reason
from models.manifest import Manifest
from models.spec import TensorPlace
from quantize.ahead import check_compiler, compile_graphs, compiled_roles
from quantize.budget import widen_within
from quantize.calibrate import read_calibration_text
from quantize.calibrated import CalibratedTensors, calibrate_blocks, calibration_report
from quantize.identity import TOKENIZER_NAME, Identity, identify, own_version
from quantize.parts import part_report
from quantize.progress import Progress
from quantize.recipe import QuantRecipe
from quantize.report_page import report_page
from quantize.rounding import ChunksOf, RoundingErrors, plan_formats, stored_chunks
from quantize.stored import ModelFacts, TensorFormat
from quantize.work_folder import WorkFolder, run_fingerprint
from quantize.writers import begin_all, check_tensors, roles_of


def quantize_checkpoint(
    source: Path,
    out: Path,
    recipe: QuantRecipe | None = None,
    *,
    name: str | None = None,
    dialect_name: str | None = None,
    replace: bool = False,
    origin: str | None = None,
    calibration: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Bundle:
    """Turn the checkpoint in ``source`` into a bundle at ``out``, whole or not at all.

    A float checkpoint is rounded; layers that are int4 already (see models.packing) keep their codes. The same source
    and recipe give the same bytes. ``name`` defaults to the name of the folder, ``origin`` says for people where the
    checkpoint came from; the dialect is told from the chat template unless ``dialect_name`` sets it. A recipe with a
    calibration reads the text at ``calibration`` (see quantize.calibrate; None: the built-in one), and keeps finished
    blocks in a hidden folder beside ``out``: the same call goes on where a killed one was. ``progress`` is called
    before every block and before every tensor.
    Raises ModelError for a source or a target that cannot be used, UsageError for a recipe that does not fit.
    """
    recipe = recipe or QuantRecipe()
    checkpoint = open_checkpoint(source)
    formats = plan_formats(checkpoint.spec, recipe, checkpoint.packed)
    # a budget that is too small, and a format that cannot hold what it widens, are told before the work
    check_tensors(recipe.file_formats, widen_within(formats, {}, recipe.bits) if recipe.has_budget else formats)
    check_compiler(recipe.targets)
    identity = identify(checkpoint, name, dialect_name, origin)
    if recipe.method == "rtn":
        chunks_of = partial(stored_chunks, checkpoint, recipe=recipe)
        return _write(out, checkpoint, recipe, identity, formats, chunks_of, {}, replace, progress)
    check_target(out, replace)
    text = read_calibration_text(calibration, identity.dialect, identity.tokenizer, recipe)
    try:
        with WorkFolder(out, run_fingerprint(checkpoint, recipe, text.calibration, own_version())) as work:
            calibrate_blocks(checkpoint, recipe, text.calibration, work, progress)
            tensors = CalibratedTensors(checkpoint, work, recipe)
            if recipe.has_budget:
                formats = widen_within(formats, tensors.harms(), recipe.bits)
            report = calibration_report(tensors, formats, text)
            bundle = _write(out, checkpoint, recipe, identity, formats, tensors.chunks, report, replace, progress)
            work.remove()
    except OSError as exc:
        raise BundleError(f"{out} cannot be made: {disk_reason(exc)}; nothing was changed there.") from exc
    return bundle


def _write(
    out: Path,
    checkpoint: Checkpoint,
    recipe: QuantRecipe,
    identity: Identity,
    formats: Mapping[TensorPlace, TensorFormat],
    chunks_of: ChunksOf,
    report: Mapping[str, Any],
    replace: bool,
    progress: Callable[[Progress], None] | None,
) -> Bundle:
    """Write the bundle; ``chunks_of`` gives what is stored of a tensor, and the floats that it stands for."""
    errors = RoundingErrors()

    def fill(folder: Path) -> Manifest:
        shutil.copyfile(checkpoint.folder / TOKENIZER_NAME, folder / TOKENIZER_NAME)
        with begin_all(recipe.file_formats, folder, _facts(checkpoint, identity), formats) as writer:
            for number, (place, tensor_format) in enumerate(formats.items()):
                if progress:
                    progress(Progress(number, len(formats), place.checkpoint_name))
                for stored, rows in chunks_of(place, tensor_format):
                    errors.add(place.gguf_name, rows, stored)
                    writer.add(place, stored)
            writer.finish()
        compile_graphs(folder, recipe.targets)
        return identity.manifest(
            checkpoint.spec,
            _recipe_record(checkpoint, recipe),
            errors.relative(),
            {**report, "parts": part_report(formats, errors)},
        )

    roles = {TOKENIZER_NAME: "tokenizer"} | roles_of(recipe.file_formats) | compiled_roles(recipe.targets)
    return write_bundle(out, roles, fill, report_page, replace=replace)


def _facts(checkpoint: Checkpoint, identity: Identity) -> ModelFacts:
    return ModelFacts(
        name=identity.name,
        spec=checkpoint.spec,
        vocabulary=identity.vocabulary,
        stop_token_ids=identity.stop_token_ids,
        sampling=identity.sampling,
        config=checkpoint.config,
    )


def _recipe_record(checkpoint: Checkpoint, recipe: QuantRecipe) -> dict[str, Any]:
    """The recipe as it was followed: what was carried over was not rounded by it."""
    packing = checkpoint.packing
    if packing is None:
        return recipe.to_record()
    return {
        "imported": packing.name,
        "bits": 4,
        "group_size": packing.group_size,
        "symmetric": packing.is_symmetric,
        "wide": recipe.wide,
        "file_formats": recipe.file_formats,
        **({"targets": recipe.targets} if recipe.targets else {}),
    }
