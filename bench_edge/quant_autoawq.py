"""Our AWQ beside the retired AutoAWQ's own, where an environment with it is named: scales, and what comes out.

Knows: how it is called (``autoawq_worker`` says how its environment is made), which of its scales belong to which group
of ours. Does not know: its insides. Both get the same windows, its format (4 bits, groups of 128, zero points) and its
formula s = mean|x|^ratio; it tries every ratio by running the layer or the whole attention or feed-forward block, ours
reckons the linear layers' output errors from one Gram matrix.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench_edge.autoawq_worker import GROUP_SIZE
from bench_edge.kept import KeptRun, say
from bench_edge.quant_quality import Sizes, Subject, compare, llama_logits, make_bundle, prepare
from models.families import ScaleGroup, family_of
from models.files import sha256_of
from quantize.awq import GRID_POINTS, candidate_scale, output_error, search_clip, search_scale
from quantize.calibrate import InputSums
from quantize.calibrated import embed
from quantize.decoder import rotation_of, run_block, split_places
from quantize.grids import PLAIN_SHARES
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

Floats = NDArray[np.float32]

INTERPRETER = "AUTOAWQ_PYTHON"  # the environment variable that names it
THEIRS = "AutoAWQ 0.2.9"
OURS = {
    "ours, AWQ with clipping": QuantRecipe(method="awq", refine="none", group_size=GROUP_SIZE, asymmetric=True),
    "ours, and error feedback": QuantRecipe(method="awq", group_size=GROUP_SIZE, asymmetric=True),
}


def measure(folder: Path, kept: KeptRun) -> dict[str, Any]:
    """The comparison on the checkpoint in ``folder``, or why there is none."""
    interpreter = os.environ.get(INTERPRETER)
    if not interpreter:
        return {"compared": False, "why": f"{INTERPRETER} names no interpreter that has it"}
    rows = kept.rows(b"autoawq", sha256_of(folder / "model.safetensors").encode())
    if found := rows.read():
        return found[0]
    with TemporaryDirectory() as place:
        figures = compare_with(interpreter, prepare(folder, Path(place), Sizes()), Path(place))
    rows.add(figures)
    return figures


def compare_with(interpreter: str, subject: Subject, place: Path) -> dict[str, Any]:
    """Let AutoAWQ quantize the checkpoint of ``subject``, and set its scales and its divergence beside ours."""
    say(f"{THEIRS} ...")
    np.save(place / "windows.npy", subject.calibration.tokens)
    worker = Path(__file__).with_name("autoawq_worker.py")
    arguments = [subject.checkpoint.folder, place / "windows.npy", place / "autoawq"]
    command = [interpreter, "-W", "ignore", str(worker), *map(str, arguments)]
    child = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if child.returncode:
        return {"compared": False, "why": (child.stderr.strip().splitlines() or ["it does not say why"])[-1][:300]}
    with np.load(place / "autoawq" / "scales.npz") as file:
        scales = {name: file[name] for name in file.files}
    (place / "autoawq" / "scales.npz").unlink()
    float_logits = list(llama_logits(subject.reference.gguf_path, subject.held_out))
    files = {THEIRS: quantize_checkpoint(place / "autoawq", place / "imported").gguf_path}
    divergences = {THEIRS: compare(subject, files[THEIRS], float_logits)}
    for name, recipe in OURS.items():
        divergences[name] = compare(subject, make_bundle(subject, recipe, place / "ours"), float_logits)
    return {"compared": True, "scales": summarize_scales(compare_scales(subject, scales)), "rows": divergences}


@dataclass(frozen=True, slots=True)
class ComparedScale:
    """One scale group: the ratio of each side, and the output error of their scale over that of ours, as we reckon."""

    producer: str
    their_ratio: float
    our_ratio: float
    error_quotient: float


def compare_scales(subject: Subject, scales: Mapping[str, Floats]) -> list[ComparedScale]:
    """Their scales, in the order of blocks and of groups, beside what our search finds with their rounding."""
    groups = family_of(subject.checkpoint.spec.family).scale_groups
    theirs = iter(scales.values())
    return [
        _compare_group(group, weights, sums, next(theirs))
        for weights, sums in _float_blocks(subject)
        for group in groups
    ]


def _float_blocks(subject: Subject) -> Iterator[tuple[dict[str, Floats], InputSums]]:
    """The weights of every block by role, and the sums of what its layers read."""
    checkpoint, tokens = subject.checkpoint, subject.calibration.tokens
    outside, blocks = split_places(checkpoint.spec)
    hidden = embed(checkpoint, outside["embedding"], tokens)
    rotation = rotation_of(checkpoint.spec, tokens.shape[1])
    for places in blocks:
        weights = {role: checkpoint.read(place) for role, place in places.items()}
        sums = InputSums()
        for window in hidden:
            window[:] = run_block(checkpoint.spec, weights, window, rotation, sums)
        yield weights, sums


def _compare_group(
    group: ScaleGroup, weights: Mapping[str, Floats], sums: InputSums, their_scale: Floats
) -> ComparedScale:
    gram, magnitudes = sums.take(group.producer)
    consumers = [weights[role] for role in group.consumers]

    def round_plain(rows: Floats, scale: Floats) -> Floats:
        return search_clip(rows * scale, None, GROUP_SIZE, True, shares=PLAIN_SHARES).dequantize() / scale

    ours = search_scale(consumers, gram, magnitudes, round_plain)
    ratios = [point / GRID_POINTS for point in range(GRID_POINTS)]
    distances = [float(np.abs(np.log(candidate_scale(magnitudes, ratio) / their_scale)).max()) for ratio in ratios]
    errors = [
        sum(output_error(round_plain(rows, scale) - rows, gram) for rows in consumers)
        for scale in (their_scale, ours.scale)
    ]
    return ComparedScale(group.producer, ratios[int(np.argmin(distances))], ours.ratio, errors[0] / errors[1])


def summarize_scales(compared: list[ComparedScale]) -> dict[str, Any]:
    """How far the choices are apart, and what theirs costs by our measure."""
    steps = [abs(row.their_ratio - row.our_ratio) * GRID_POINTS for row in compared]
    quotients = [row.error_quotient for row in compared]
    return {
        "groups": len(compared),
        "same_ratio": sum(step < 0.5 for step in steps),
        "mean_ratio_difference": float(np.mean(steps)) / GRID_POINTS,
        "mean_error_quotient": float(np.mean(quotients)),
        "ratios": [[row.producer, row.their_ratio, row.our_ratio, round(row.error_quotient, 4)] for row in compared],
    }
