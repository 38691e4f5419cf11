"""A float checkpoint calibrated block by block, and its tensors as that leaves them.

Knows: the loop over blocks, what is resumed, how a scale reaches tensors that stay wider. Does not know: how a block
is quantized, or what is written.

Every block is calibrated on what the float model computes, not on what the quantized blocks before it compute. On the
embedded model both gave the same divergence, and this way each block is run once instead of twice, and what one layer
gets does not depend on the format of an earlier one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import Checkpoint
from models.errors import CheckpointError
from models.families import family_of
from models.spec import TensorPlace
from quantize.awq import apply_scale
from quantize.block import QuantizedBlock, quantize_block, relative_distance, rounded
from quantize.calibrate import CalibrationText, InputSums, Windows
from quantize.decoder import Rotation, rotation_of, run_block, split_places
from quantize.gguf_blocks import stored_values
from quantize.progress import Progress
from quantize.quality import measure_quality
from quantize.recipe import QuantRecipe
from quantize.rounding import round_rows, stored_chunks, values_of
from quantize.stored import Stored, TensorFormat
from quantize.work_folder import FinishedBlock, WorkFolder

Floats = NDArray[np.float32]
HARM_WINDOWS = 2  # on which the harm of each layer is measured where a budget has to be spent


def calibrate_blocks(
    checkpoint: Checkpoint,
    recipe: QuantRecipe,
    windows: Windows,
    work: WorkFolder,
    progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Quantize every block that ``work`` does not hold yet. Memory holds one block and the windows' hidden states.

    Raises CheckpointError for weights that are not finite or that lead to such values.
    """
    spec = checkpoint.spec
    outside, blocks = split_places(spec)
    first = work.num_finished
    hidden = work.read_hidden() if first else embed(checkpoint, outside["embedding"], windows.tokens)
    rotation = rotation_of(spec, windows.tokens.shape[1])
    started_s = clock()
    for layer in range(first, spec.num_layers):
        if progress:
            done = layer - first
            seconds_left = (clock() - started_s) / done * (spec.num_layers - layer) if done else None
            progress(Progress(layer, spec.num_layers, f"block {layer}", seconds_left))
        block = _calibrate_block(checkpoint, blocks[layer], hidden, rotation, recipe)
        if not np.isfinite(hidden).all():
            raise CheckpointError(
                f"Block {layer} of {checkpoint.folder} computes a NaN or an infinity on the calibration text; "
                "the checkpoint is broken, fetch it again."
            )
        work.save_block(layer, block, hidden)


def _calibrate_block(
    checkpoint: Checkpoint, places: Mapping[str, TensorPlace], hidden: Floats, rotation: Rotation, recipe: QuantRecipe
) -> QuantizedBlock:
    """Run one block on ``hidden`` (W, T, hidden_size), in place, and quantize it for what its layers read."""
    spec = checkpoint.spec
    weights = {role: checkpoint.read(place) for role, place in places.items()}
    before = hidden[: HARM_WINDOWS if recipe.has_budget else 0].copy()
    sums = InputSums()
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named by the caller
        for window in hidden:
            window[:] = run_block(spec, weights, window, rotation, sums)
    if not np.isfinite(hidden).all():
        return QuantizedBlock(weights)
    block = quantize_block(spec, places, weights, sums, recipe)
    for role, tensor in block.stored.items() if recipe.has_budget else ():
        changed = block.weights | {role: stored_values(tensor)}
        moved = np.stack([run_block(spec, changed, window, rotation) for window in before])
        block.harms[places[role].gguf_name] = rounded(relative_distance(moved, hidden[: len(before)]))
    return block


@dataclass(frozen=True, slots=True)
class CalibratedTensors:
    """The tensors of ``checkpoint`` as a finished run in ``work`` leaves them."""

    checkpoint: Checkpoint
    work: WorkFolder
    recipe: QuantRecipe

    def report(self) -> dict[str, Any]:
        """What was measured in every block, as JSON values."""
        blocks = [self.work.read_block(layer) for layer in range(self.checkpoint.spec.num_layers)]
        return {
            "scale_groups": [asdict(group) for block in blocks for group in block.groups],
            "layers": [asdict(layer) for block in blocks for layer in block.layers],
        }

    def harms(self) -> dict[str, float]:
        """See quantize.budget.widen_within; empty where the recipe has no budget."""
        blocks = (self.work.read_block(layer) for layer in range(self.checkpoint.spec.num_layers))
        return {name: harm for block in blocks for name, harm in block.harms.items()}

    def chunks(self, place: TensorPlace, tensor_format: TensorFormat) -> Iterator[tuple[Stored, Floats]]:
        """One tensor in order, as chunks of whole rows: what is written, and the floats that it stands for."""
        if place.layer is None:
            yield from stored_chunks(self.checkpoint, place, tensor_format, self.recipe)
            return
        block = self.work.read_block(place.layer)
        floats = self._folded(place, block)
        is_int4 = tensor_format in ("Q4_0", "Q4_1")
        yield (block.stored[place.role] if is_int4 else round_rows(floats, tensor_format, self.recipe)), floats

    def _folded(self, place: TensorPlace, block: FinishedBlock) -> Floats:
        """A tensor of the checkpoint with the scales divided out of its rows and multiplied into its columns."""
        weights = self.checkpoint.read(place)
        for group in reversed(family_of(self.checkpoint.spec.family).scale_groups):
            if (scale := block.scales.get(group.producer)) is None:
                continue
            if place.role == group.producer:
                weights, _ = apply_scale(weights, (), scale)
            if place.role in group.consumers:
                weights = weights * scale
        return weights


def embed(checkpoint: Checkpoint, place: TensorPlace, tokens: NDArray[np.integer[Any]]) -> Floats:
    """The rows (..., hidden_size) of the embedding at ``place`` for ``tokens`` (...); memory holds a chunk of it."""
    rows = np.empty((*tokens.shape, place.shape[1]), np.float32)
    first = 0
    for chunk in checkpoint.read_rows(place):
        is_here = (tokens >= first) & (tokens < first + len(chunk))
        rows[is_here] = chunk[tokens[is_here] - first]
        first += len(chunk)
    return rows


def calibration_report(
    tensors: CalibratedTensors, formats: Mapping[TensorPlace, TensorFormat], text: CalibrationText
) -> dict[str, Any]:
    """What the manifest keeps of a calibrated run: the text, every group and layer, and the quality where measured."""

    read_rows = tensors.checkpoint.read_rows

    def both(place: TensorPlace) -> Iterator[tuple[Floats, Floats]]:
        originals = read_rows(place) if place.layer is None else (tensors.checkpoint.read(place),)
        for original, (stored, _) in zip(originals, tensors.chunks(place, formats[place]), strict=True):
            yield original, values_of(stored)

    report: dict[str, Any] = {
        "calibration": {"text": text.name, "distinct_tokens": text.num_distinct_tokens},
        **tensors.report(),
    }
    if len(text.held_out):
        report["quality"] = asdict(measure_quality(tensors.checkpoint.spec, both, text.held_out))
    return report
