"""The sparks on every backend that runs here: right answers by mode, and how like the reference decoder they are.

Knows: two ways of asking. Through the runtime, as users do, for what is right. And token by token, the likeliest each
time, for what is identical: our numpy decoder runs over prompt and answer in float32, on the weights that the ``gguf``
package reads out of the bundle, and an answer is identical where every token was its likeliest, too.
Does not know: deadlines, large models.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench_edge.intervals import Proportion
from bench_edge.kept import Progress, say
from bench_edge.npu_bundle import npu_bundle
from bench_edge.quant_quality import open_weights
from bench_edge.think_run import MODES, ThinkRun
from edge.backends.base import BACKENDS, BackendOptions
from edge.model_source import find_model
from models.dialect import Message, Think
from models.errors import EdgeError, ModelError
from models.spark.tasks import test_set

if TYPE_CHECKING:
    from edge.loaded_model import LoadedModel
    from models.spec import TensorPlace

GREEDY_MODES: tuple[Think, ...] = ("off", "on")
MOST_TOKENS = 256
CONTEXT = 1024

Floats = NDArray[np.float32]
Reference = Callable[[Sequence[int]], Floats]
"""Tokens -> logits (T, vocab_size) after each of them."""


def with_npu_graphs(models: Sequence[str], folder: Path) -> dict[str, str]:
    """By model: a bundle of its very weights with every format, in ``folder``; its own where onnx is not installed."""
    try:
        return {model: str(npu_bundle(model, folder)) for model in models}
    except ModelError as exc:
        say(f"The graphs for NPUs are left out: {exc}")
        return {model: model for model in models}


def native_backends(bundles: Mapping[str, str]) -> dict[str, list[str]]:
    """By model: the backends that its bundle has weights for, and that open here on a true device."""
    return {model: [name for name in BACKENDS if _opens(bundle, name)] for model, bundle in bundles.items()}


def _opens(model: str, backend: str) -> bool:
    row = BACKENDS[backend]
    if row.weights_role not in find_model(model).weights or row.simulated_on == platform.machine():
        return False
    try:
        _load(model, backend).backend.close()
    except EdgeError:
        return False
    return True


def _load(model: str, backend: str) -> LoadedModel:
    from edge.loaded_model import load_model

    options = BackendOptions(context_size=CONTEXT, num_threads=1)
    return load_model(find_model(model), backend=backend, options=options, dialect=None)


def measure(
    bundles: Mapping[str, str], backends: Mapping[str, Sequence[str]], num_problems: int, run: ThinkRun
) -> dict[str, dict[str, Any]]:
    """By model and backend: accuracy of each mode, and what ``compare`` gives. An interrupted run goes on."""
    problems = test_set()[:num_problems]
    figures: dict[str, dict[str, Any]] = {}
    for model, names in backends.items():
        figures[model] = {}
        for name in names:
            bundle = bundles[model]
            outcomes = run.measure(bundle, problems, MODES, name)
            right = {
                mode: Proportion(sum(one.is_right for one in rows), len(rows)).to_json()
                for mode, rows in outcomes.items()
            }
            compared = compare(_load(bundle, name), reference_of(bundle), [problem.prompt for problem in problems])
            figures[model][name] = {"right": right, **compared, "evidence": "executed"}
    return figures


@cache
def reference_of(model: str) -> Reference:
    """Our decoder on the weights of a model's bundle."""
    from quantize.decoder import logits_of

    source = find_model(model)
    assert source.bundle is not None
    spec, read = source.bundle.spec, open_weights(source.gguf_path)[0]
    weights: dict[str, Floats] = {}

    def read_once(place: TensorPlace) -> Floats:
        if place.gguf_name not in weights:
            weights[place.gguf_name] = read(place)
        return weights[place.gguf_name]

    return lambda tokens: logits_of(spec, read_once, tokens)


@dataclass(slots=True)
class Compared:
    """What has been counted so far."""

    identical: list[bool] = field(default_factory=list)
    largest_error: float = 0.0
    seconds: float = 0.0
    num_tokens: int = 0

    def add(self, tokens: Sequence[int], found: Floats, expected: Floats, seconds: float) -> None:
        """One answer: its tokens, its logits and the reference's, (tokens, vocab_size) each."""
        self.identical.append(bool((expected.argmax(axis=1) == np.asarray(tokens)).all()))
        self.largest_error = max(self.largest_error, float(np.abs(found - expected).max()))
        self.seconds += seconds
        self.num_tokens += len(tokens)


def compare(model: LoadedModel, reference: Reference, prompts: Sequence[str]) -> dict[str, Any]:
    """Every prompt answered greedily with and without thinking on ``model``, whose backend is closed at the end."""
    compared = Compared()
    progress = Progress(f"{model.name} on {model.backend.name} beside the reference", len(prompts))
    for text in prompts:
        for mode in GREEDY_MODES:
            prompt, forced = model.tokenizer.encode_prompt(model.dialect.render([Message("user", text)], mode))
            start = [*prompt, *forced]
            tokens, found, seconds = _answer(model, start)
            expected = reference([*start, *tokens[:-1]])[len(start) - 1 :]
            compared.add(tokens, found, expected[:, : found.shape[1]], seconds)
        progress.step()
    model.backend.close()
    return {
        "identical": Proportion(sum(compared.identical), len(compared.identical)).to_json(),
        "largest_logit_error": compared.largest_error,
        "decode_tokens_per_s": compared.num_tokens / compared.seconds,
    }


def _answer(model: LoadedModel, start: Sequence[int]) -> tuple[list[int], Floats, float]:
    """The likeliest tokens up to the one that ends the answer, their logits, and the seconds of the decoding."""
    backend = model.backend
    backend.cut(0, 0)
    backend.prefill(0, start)
    tokens: list[int] = []
    logits: list[Floats] = []
    start_s = time.perf_counter()
    while True:
        logits.append(backend.logits(0).copy())
        tokens.append(int(logits[-1].argmax()))
        if tokens[-1] in model.stop_ids or len(tokens) == MOST_TOKENS:
            return tokens, np.stack(logits), time.perf_counter() - start_s
        backend.append(0, tokens[-1:])
