"""The contract between the token loop and a device, and the table of backends.

Knows: tokens, sequences, the cache, logits. Does not know: text, tags, think modes, deadlines.
A backend is one class in one file; a missing package says the exact install command.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UsageError
from models.qnn_chips import QNN_MODULE, QNN_REQUIREMENT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """How a backend opens a model. None means: the backend chooses and can say why."""

    context_size: int | None = None  # tokens, all sequences share it
    num_threads: int | None = None
    num_sequences: int = 1
    gpu_layers: int | None = None  # layers kept on a GPU, for a backend that was built for one


@dataclass(frozen=True, slots=True)
class PrefillResult:
    """``cached_tokens`` were kept, ``evaluated_tokens`` were computed; ``is_complete`` is False when interrupted."""

    cached_tokens: int
    evaluated_tokens: int
    is_complete: bool


class Backend(ABC):
    """A loaded model on a device, several token sequences wide. Not thread-safe: one caller at a time.

    Attributes are set by the subclass before use.
    """

    name: str
    context_size: int
    kv_bytes_per_token: int
    vocab_size: int
    num_sequences: int
    num_threads: int
    changes_threads_freely: bool = True  # False: another number costs as much as opening the model again
    notes: tuple[str, ...] = ()  # sentences a user should see once (safe mode, a smaller context than asked)

    @abstractmethod
    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        """Make ``sequence`` hold exactly ``tokens``: keep the common prefix, cut the rest, evaluate what is new.

        The last token is always evaluated, so that its logits are there. ``should_stop`` is asked between chunks and
        inside them where the device allows; after a stop the sequence holds what was evaluated whole.
        Raises ContextFullError when ``tokens`` do not fit, BackendError when the device fails.
        """

    def prefill_seeing(
        self,
        sequence: int,
        tokens: Sequence[int],
        length: int,
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> tuple[PrefillResult, NDArray[np.float32] | None] | None:
        """``prefill``, and from the same pass the logits ``(vocab_size,)`` after the first ``length`` tokens.

        They are None after a stop. The whole is None, and nothing is evaluated, on a device that computes the logits of
        the last token alone.
        """
        return None

    @abstractmethod
    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        """Evaluate ``tokens`` at the end of ``sequence``: one sampled token, or forced ones.

        Raises ContextFullError when they do not fit (nothing is evaluated then), BackendError when the device fails.
        """

    @abstractmethod
    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        """``(vocab_size,) float32`` after the last token of ``sequence``; a view that the next call may overwrite.

        ``banned`` will not be picked: a device that runs ahead needs to know whether its own choice counts.
        """

    @abstractmethod
    def length(self, sequence: int) -> int:
        """Number of tokens that ``sequence`` holds."""

    @abstractmethod
    def cut(self, sequence: int, length: int) -> None:
        """Forget all tokens of ``sequence`` from position ``length`` on; its logits are gone until the next append."""

    @abstractmethod
    def save(self, sequence: int) -> bytes:
        """The state of ``sequence``: its tokens and its part of the cache."""

    @abstractmethod
    def restore(self, sequence: int, state: bytes) -> None:
        """Bring back what ``save`` gave. Raises BackendError when the state is not of this model and backend."""

    @abstractmethod
    def set_threads(self, num_threads: int) -> None:
        """Use ``num_threads`` from the next call on. Raises UsageError for a number the device cannot use."""

    def run_ahead(self, is_allowed: bool) -> None:  # noqa: B027 - most devices have nothing to run ahead with
        """From now on only the likeliest token that is not banned counts (or not): a device with a loop of its own may
        run it then, and its logits tell no more than its choice.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the device; safe to call twice."""


LLAMA_CPP_REQUIREMENT = "llama-cpp-python>=0.3.36,<0.3.37"  # as in pyproject.toml
ONNX_REQUIREMENT = "onnxruntime>=1.31,<2"
OPENVINO_REQUIREMENT = "onnxruntime-ep-openvino>=1.8,<2"
ONNX_GPU_REQUIREMENT = "onnxruntime-gpu[cuda,cudnn]>=1.31,<2"


@dataclass(frozen=True, slots=True)
class BackendRow:
    """Where a backend's class is, what installs its package, and the role of the bundle file with its weights.

    ``package`` is the name that is imported, None for a library that no package brings. ``offloads``: it takes
    ``BackendOptions.gpu_layers``. ``simulated_on``: the platform.machine() where a simulator stands in for the
    device, which there is used where it is named and never chosen.
    """

    module: str
    class_name: str
    install: str
    weights_role: str
    package: str | None = None
    offloads: bool = False
    simulated_on: str | None = None


# In the order of choice where nothing else is known.
BACKENDS: dict[str, BackendRow] = {
    "llama_cpp": BackendRow(
        "edge.backends.llama_cpp",
        "LlamaCppBackend",
        f"pip install '{LLAMA_CPP_REQUIREMENT}'",
        "gguf",
        "llama_cpp",
        offloads=True,
    ),
    "onnx": BackendRow(
        "edge.backends.onnx_runtime", "OnnxRuntimeBackend", f"pip install '{ONNX_REQUIREMENT}'", "onnx", "onnxruntime"
    ),
    "rkllm": BackendRow(
        "edge.backends.rkllm", "RkllmBackend", "copy librkllmrt.so 1.3.0 from Rockchip's rknn-llm to /usr/lib", "rkllm"
    ),
    "qnn": BackendRow(
        "edge.backends.qnn",
        "QnnBackend",
        f"pip install '{ONNX_REQUIREMENT}' '{QNN_REQUIREMENT}'",
        "npu_decode",
        QNN_MODULE,
        simulated_on="x86_64",
    ),
    "openvino": BackendRow(
        "edge.backends.openvino",
        "OpenVinoBackend",
        f"pip install '{ONNX_REQUIREMENT}' '{OPENVINO_REQUIREMENT}'",
        "npu_decode_plain",
        "onnxruntime_ep_openvino",
    ),
    "onnx_cuda": BackendRow(
        "edge.backends.onnx_cuda",
        "OnnxCudaBackend",
        f"pip uninstall onnxruntime && pip install '{ONNX_GPU_REQUIREMENT}'",  # one takes the other's place
        "npu_decode_plain",
        "onnxruntime",
    ),
}


def find_backend(name: str) -> BackendRow:
    """The row of the backend called ``name``. Raises UsageError for an unknown one."""
    if name not in BACKENDS:
        raise UsageError(f"There is no backend {name!r}; use one of {', '.join(BACKENDS)}.")
    return BACKENDS[name]


def open_backend(name: str, weights_path: Path, options: BackendOptions) -> Backend:
    """Load ``weights_path`` on the backend called ``name``.

    Raises UsageError for an unknown name or an option that it does not take, BackendError (with the install command)
    for a missing package, BundleError for a file the backend cannot read.
    """
    row = find_backend(name)
    if options.gpu_layers is not None and not row.offloads:
        raise UsageError(f"The backend {name} moves no layers to a GPU; leave --gpu-layers out.")
    backend_class: Callable[[Path, BackendOptions], Backend] = getattr(import_module(row.module), row.class_name)
    return backend_class(weights_path, options)
