"""spark on Qualcomm's simulator: whether every node runs there, and whether its answers are those of the CPU.

Knows: greedy answers without thinking, on graphs for few tokens, which a simulator can bear; answers are kept, so that
an interrupted run goes on. Does not know: the simulator, or how fast anything is.
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_edge.intervals import Proportion
from bench_edge.kept import KeptRun, Progress, model_identity
from bench_edge.npu_bundle import npu_bundle
from bench_edge.report import Check
from edge.backends.base import BACKENDS, Backend, BackendOptions
from edge.model_source import find_model
from models.dialect import Message
from models.qnn_chips import QNN_MODULE, QNN_PROVIDER
from models.spark.tasks import test_set

if TYPE_CHECKING:
    from edge.loaded_model import LoadedModel

CAPACITY, CHUNK_SIZE = 256, 16
MOST_TOKENS = 24


def can_simulate() -> bool:
    """Whether this machine has the simulator."""
    return BACKENDS["qnn"].simulated_on == platform.machine() and importlib.util.find_spec(QNN_MODULE) is not None


def measure(model: str, folder: Path, num_problems: int, kept: KeptRun) -> dict[str, Any]:
    """Nodes on the simulator and elsewhere, and how many of the answers are the CPU's own."""
    from edge.backends.npu import NpuBackend
    from edge.backends.qnn import QnnBackend
    from edge.loaded_model import load_model

    bundle = npu_bundle(model, folder, capacity=CAPACITY, chunk_size=CHUNK_SIZE)
    loaded = load_model(find_model(bundle), backend="qnn", options=BackendOptions(), dialect=None)
    device = loaded.backend
    assert isinstance(device, QnnBackend)
    prompts = [problem.prompt for problem in test_set()[:num_problems]]
    rows = kept.rows(b"simulated", model_identity(bundle), str(CAPACITY).encode())
    done = {row["prompt"]: row for row in rows.read()}
    progress = Progress(f"{model} on the simulator", len(prompts) - len(done))
    with closing(NpuBackend(find_model(bundle).weights["npu_decode"], BackendOptions())) as host, closing(device):
        for prompt in prompts:
            if prompt not in done:
                there, here = (greedy_answer(loaded, backend, prompt) for backend in (device, host))
                done[prompt] = {"prompt": prompt, "there": there, "here": here}
                rows.add(done[prompt])
                progress.step()
        placement = dict(device.placement)
    same = sum(done[prompt]["there"] == done[prompt]["here"] for prompt in prompts)
    return {
        "model": model,
        "placement": placement,
        "nodes_elsewhere": sum(count for provider, count in placement.items() if provider != QNN_PROVIDER),
        "same_as_cpu": Proportion(same, len(prompts)).to_json(),
    }


def greedy_answer(model: LoadedModel, backend: Backend, text: str) -> list[int]:
    """The likeliest tokens without thinking, up to the one that ends the answer."""
    prompt, forced = model.tokenizer.encode_prompt(model.dialect.render([Message("user", text)], "off"))
    backend.cut(0, 0)
    backend.prefill(0, [*prompt, *forced])
    tokens: list[int] = []
    while True:
        tokens.append(int(backend.logits(0).argmax()))
        if tokens[-1] in model.stop_ids or len(tokens) == MOST_TOKENS:
            return tokens
        backend.append(0, tokens[-1:])


def simulated_checks(figures: dict[str, Any]) -> Sequence[Check]:
    """The promised figures."""
    same, model = figures["same_as_cpu"], figures["model"]
    what = f"{model} on the HTP simulator"
    return (
        Check("E.htp_1", f"{what}: nodes elsewhere", figures["nodes_elsewhere"], 0, "at_most"),
        Check("E.htp_2", f"{what}: answers of {same['total']} as on the CPU", same["value"], 0.98, "at_least"),
    )
