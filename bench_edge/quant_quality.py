"""How far 4 bits move the sparks: our ways of rounding, and llama.cpp's own quantizer on the same text.

Knows: which files are compared, and two ways of reading every one of them: the weights that the ``gguf`` package reads
out of the file, run by our decoder in float32, which is what rounding alone did; and the logits of llama.cpp, token by
token, which round what layers read to 8 bits as well. Does not know: how any of the files is made.

Promised is what the first way says: it does not depend on the kernels of one processor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench_edge.kept import KeptRun, say
from bench_edge.llama_quantizer import importance_of, quantize_with_llama
from bench_edge.report import Check
from edge.backends.base import BackendOptions, open_backend
from models.bundle import Bundle
from models.checkpoint import Checkpoint, open_checkpoint
from models.dialect import DIALECTS
from models.files import sha256_of
from models.spark.calibration import conversation, draw_conversations
from models.spark.tasks import draw_set
from models.spec import TensorPlace
from models.tokenizer import BpeChatTokenizer
from quantize.calibrate import Windows, read_calibration_text
from quantize.pipeline import quantize_checkpoint
from quantize.quality import measure_quality
from quantize.recipe import QuantRecipe

Floats = NDArray[np.float32]

PLAIN, AWQ, REFINED = "plain rounding", "AWQ with clipping", "AWQ, clipping and error feedback"
OURS: dict[str, QuantRecipe] = {
    PLAIN: QuantRecipe(),
    AWQ: QuantRecipe(method="awq", refine="none"),
    REFINED: QuantRecipe(method="awq"),
}
THEIRS = ("Q4_0", "IQ4_XS", "Q4_K_M")
MAX_SHARES = {"B.kl_awq": (AWQ, 0.85), "B.kl_gptq": (REFINED, 0.25)}
HELD_OUT_SEED = 32


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much text: conversations to calibrate on and to measure on, windows of both, tokens of a window."""

    conversations: int = 480
    held_out_conversations: int = 240
    windows: int = 16
    held_out_windows: int = 16
    window_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Subject:
    """A float checkpoint, what it is compared with, and the text for both."""

    checkpoint: Checkpoint
    reference: Bundle  # all weights in float32
    text_path: Path
    calibration: Windows
    held_out: Windows
    sizes: Sizes


def measure(folder: Path, kept: KeptRun, sizes: Sizes | None = None) -> dict[str, Any]:
    """Every way of rounding the checkpoint in ``folder``, measured on text that none of them has seen."""
    sizes = sizes or Sizes()
    rows = kept.rows(b"quality", json.dumps(asdict(sizes)).encode(), sha256_of(folder / "model.safetensors").encode())
    found = {row["name"]: row for row in rows.read()}
    with TemporaryDirectory() as place:
        subject = prepare(folder, Path(place), sizes)
        float_logits = list(llama_logits(subject.reference.gguf_path, subject.held_out))
        for name, path in makers(subject, Path(place)).items():
            if name not in found:
                say(f"{folder.parent.name}: {name}")
                found[name] = {"name": name, **compare(subject, path(), float_logits)}
                rows.add(found[name])
    return {
        "num_tokens": (sizes.window_tokens - 1) * sizes.held_out_windows,
        "calibration_tokens": int(subject.calibration.tokens.size),
        "rows": {name: {key: row[key] for key in row if key != "name"} for name, row in found.items()},
    }


def prepare(folder: Path, place: Path, sizes: Sizes) -> Subject:
    """The checkpoint in ``folder`` with its float32 bundle and its texts, written into ``place``."""
    checkpoint = open_checkpoint(folder)
    reference = quantize_checkpoint(folder, place / "float", QuantRecipe(bits=32), name="float reference")
    dialect = DIALECTS[reference.dialect_name]
    tokenizer = BpeChatTokenizer.from_file(reference.tokenizer_path, dialect.control_texts, reference.bos_token_id)
    texts = {
        "calibration": draw_conversations(sizes.conversations),
        "held-out": [
            conversation(item) for item in draw_set(sizes.held_out_conversations, HELD_OUT_SEED, "validation")
        ],
    }
    windows = []
    for (name, lines), count in zip(texts.items(), (sizes.windows, sizes.held_out_windows), strict=True):
        path = place / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
        recipe = _with_windows(OURS[REFINED], count, sizes)
        windows.append(read_calibration_text(path, dialect, tokenizer, recipe).calibration)
    return Subject(checkpoint, reference, place / "calibration.jsonl", windows[0], windows[1], sizes)


def _with_windows(recipe: QuantRecipe, count: int, sizes: Sizes) -> QuantRecipe:
    """``recipe`` with ``count`` windows, none of them spared: what is held out is another text."""
    return replace(recipe, windows=count, window_tokens=sizes.window_tokens, held_out=0)


def makers(subject: Subject, place: Path) -> dict[str, Callable[[], Path]]:
    """What makes each GGUF file, by the name of the row."""

    def make_theirs(file_type: str) -> Path:
        importance = importance_of(subject.checkpoint, subject.calibration)
        quantize_with_llama(subject.reference.gguf_path, place / "theirs.gguf", file_type, importance)
        return place / "theirs.gguf"

    ours = {name: partial(make_bundle, subject, recipe, place / "ours") for name, recipe in OURS.items()}
    return {**ours, **{f"llama.cpp {name}": partial(make_theirs, name) for name in THEIRS}}


def make_bundle(subject: Subject, recipe: QuantRecipe, out: Path) -> Path:
    """The GGUF file of the bundle that ``recipe`` makes of the checkpoint on its text, in place of one there."""
    text = subject.text_path if recipe.method == "awq" else None
    recipe = _with_windows(recipe, subject.sizes.windows, subject.sizes)
    return quantize_checkpoint(subject.checkpoint.folder, out, recipe, calibration=text, replace=True).gguf_path


# --- reading a file -------------------------------------------------------------------------------------------------


def compare(subject: Subject, path: Path, float_logits: list[Floats]) -> dict[str, Any]:
    """The bits of a weight of a GGUF file, and how far it is from the float model, read in both ways."""
    read, bits = open_weights(path)

    def both(place: TensorPlace) -> Iterator[tuple[Floats, Floats]]:
        yield subject.checkpoint.read(place), read(place)

    quality = asdict(measure_quality(subject.checkpoint.spec, both, subject.held_out))
    del quality["num_tokens"]
    logits = llama_logits(path, subject.held_out)
    return {**bits, **quality, "divergence_in_llama_cpp": mean_divergence(zip(float_logits, logits, strict=True))}


def open_weights(path: Path) -> tuple[Callable[[TensorPlace], Floats], dict[str, float]]:
    """A reader of one tensor after the other as float32, and the bits of a weight: of linear layers, of the file."""
    import gguf

    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}

    def read(place: TensorPlace) -> Floats:
        tensor = tensors[place.gguf_name]
        values: Floats = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(place.shape)
        return values

    def bits(names: list[str]) -> float:
        num_bits = 8 * sum(int(tensors[name].n_bytes) for name in names)
        return num_bits / sum(int(tensors[name].n_elements) for name in names)

    linear = [name for name in tensors if name.startswith("blk.") and "norm" not in name]
    return read, {"layer_bits": bits(linear), "file_bits": bits(list(tensors))}


def llama_logits(path: Path, windows: Windows) -> Iterator[Floats]:
    """llama.cpp's logits (T, vocab_size) after every token of each window, one token at a time as it decodes."""
    length = windows.tokens.shape[1]
    backend = open_backend("llama_cpp", path, BackendOptions(context_size=length, num_threads=1))
    try:
        for window in windows.tokens.tolist():
            logits = np.empty((length, backend.vocab_size), np.float32)
            backend.prefill(0, window[:1])
            for position, token in enumerate(window):
                if position:
                    backend.append(0, [token])
                logits[position] = backend.logits(0)
            yield logits
    finally:
        backend.close()


def mean_divergence(pairs: Iterator[tuple[Floats, Floats]]) -> float:
    """KL(first || second) in nats, the average over positions; the last one of a window predicts nothing."""
    divergences = []
    for pair in pairs:
        first, second = (_log_softmax(logits[:-1].astype(np.float64)) for logits in pair)
        divergences.append((np.exp(first) * (first - second)).sum(axis=1))
    return float(np.concatenate(divergences).mean())


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normed: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normed


# --- figures --------------------------------------------------------------------------------------------------------


def quality_checks(figures: dict[str, Any]) -> list[Check]:
    """The promised figures, each of the model on which it is worst."""
    models = ", ".join(figures)

    def worst(name: str, yardstick: str) -> float:
        rows = [figure["rows"] for figure in figures.values()]
        shares: list[float] = [row[name]["divergence"] / row[yardstick]["divergence"] for row in rows]
        return max(shares)

    checks = [
        Check(number, f"divergence of {name}, share of {PLAIN}'s ({models})", worst(name, PLAIN), bar, "at_most")
        for number, (name, bar) in MAX_SHARES.items()
    ]
    for number, name in enumerate(THEIRS, 1):
        what = f"divergence of {REFINED}, share of llama.cpp's {name} ({_bits(figures, f'llama.cpp {name}')})"
        checks.append(Check(f"B.kl_peer_{number}", what, worst(REFINED, f"llama.cpp {name}"), 1.0, "at_most"))
    return checks


def _bits(figures: dict[str, Any], name: str) -> str:
    """Bits a weight of the layers: ours against theirs."""
    pairs = {
        f"{rows[REFINED]['layer_bits']:.2f} against {rows[name]['layer_bits']:.2f} bits"
        for rows in (figure["rows"] for figure in figures.values())
    }
    return "; ".join(sorted(pairs))
