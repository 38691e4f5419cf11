"""onnxruntime-genai's own loop on a folder of ours: the yardstick for our ONNX backend.

Knows: its Python package, greedy search, a number of threads. Does not know: text, or how our backend runs the graph.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any


class GenaiLoop:
    """A folder with genai_config.json, opened with ``num_threads``; a context manager."""

    def __init__(self, folder: Path, num_threads: int) -> None:
        self._genai: Any = import_module("onnxruntime_genai")
        config = self._genai.Config(str(folder))
        session = {"session_options": {"intra_op_num_threads": num_threads}}
        config.overlay(json.dumps({"model": {"decoder": session}}))
        self._model: Any = self._genai.Model(config)

    def __enter__(self) -> GenaiLoop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._model = None

    def decode_s(self, prompt: Sequence[int], num_tokens: int) -> float:
        """Seconds a token after ``prompt``, the likeliest each time."""
        generator = self._generator(len(prompt) + num_tokens + 1)
        generator.append_tokens(list(prompt))
        generator.generate_next_token()  # the prefill has its logits already
        start_s = time.perf_counter()
        for _ in range(num_tokens):
            generator.generate_next_token()
        return (time.perf_counter() - start_s) / num_tokens

    def _generator(self, max_length: int) -> Any:
        parameters = self._genai.GeneratorParams(self._model)
        parameters.set_search_options(do_sample=False, max_length=max_length, min_length=max_length)
        return self._genai.Generator(self._model, parameters)
