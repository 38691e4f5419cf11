"""The door to Rockchip's RKLLM runtime: its C structures as tables, one table for each version of them.

Knows: sizes and fields of RKLLM 1.3.0, its symbols, and how to tell a library that is not it before a call can crash.
Does not know: sequences, sampling, think modes. Never run on a board: bound and tested against a stand-in library with
the same layout.

The library has no call that tells its version, and 1.3.0 moved fields of 1.2.3: its default parameters are read in a
child process first and must make sense at the offsets of the table.

    python -m edge.backends.rkllm_library LIBRARY      exit code 0: it is the version in the table, 3: it is not
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint8, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import BackendError

LIBRARY_NAME = "librkllmrt.so"
LIBRARY_VARIABLE = "EDGE_RKLLM_LIBRARY"
VERSION = "1.3.0"
CHECK_TIMEOUT_S = 30.0
EXIT_SAME, EXIT_OTHER = 0, 3

INPUT_TOKENS = 1  # of RKLLMInputType
MODE_GENERATE, MODE_LOGITS = 0, 2  # of RKLLMInferMode
STATE_NORMAL, STATE_WAITING, STATE_FINISH, STATE_ERROR = range(4)
GO_ON, PAUSE, RELEASE = range(3)  # what the result callback answers

ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
Fields = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """One version's structures: name -> (size in bytes on a 64-bit machine, fields in their order)."""

    version: str
    structures: Mapping[str, tuple[int, Fields]]


_SAMPLING: Fields = (
    ("top_k", c_int32),
    ("top_p", c_float),
    ("temperature", c_float),
    ("repeat_penalty", c_float),
    ("frequency_penalty", c_float),
    ("presence_penalty", c_float),
    ("mirostat", c_int32),
    ("mirostat_tau", c_float),
    ("mirostat_eta", c_float),
)
_EXTEND: Fields = (
    ("base_domain_id", c_int32),
    ("embed_flash", c_int8),
    ("enabled_cpus_num", c_int8),
    ("enabled_cpus_mask", c_uint32),
    ("n_batch", c_uint8),
    ("use_cross_attn", c_int8),
    ("reserved", c_uint8 * 104),
)
_PARAM: Fields = (
    ("model_path", c_char_p),
    ("max_context_len", c_int32),
    ("max_new_tokens", c_int32),
    ("top_k", c_int32),
    ("n_keep", c_int32),
    ("top_p", c_float),
    ("temperature", c_float),
    ("repeat_penalty", c_float),
    ("frequency_penalty", c_float),
    ("presence_penalty", c_float),
    ("mirostat", c_int32),
    ("mirostat_tau", c_float),
    ("mirostat_eta", c_float),
    ("skip_special_token", c_bool),
    ("ignore_eos_token", c_bool),
    ("is_async", c_bool),
    ("extend_param", "ExtendParam"),
)
_INPUT: Fields = (
    ("role", c_char_p),
    ("enable_thinking", c_bool),
    ("input_type", c_int32),
    ("input_ids", POINTER(c_int32)),  # of the union: the member for INPUT_TOKENS
    ("num_tokens", c_size_t),
    ("rest_of_union", c_uint8 * 128),  # its largest member is the multimodal one, 144 bytes
)
_INFER_PARAM: Fields = (
    ("mode", c_int32),
    ("lora", c_void_p),
    ("prompt_cache", c_void_p),
    ("sampling", c_void_p),
    ("keep_history", c_int32),
    ("max_new_tokens", c_int32),
)
_RESULT: Fields = (
    ("text", c_char_p),
    ("token_id", c_int32),
    ("hidden", c_void_p),
    ("hidden_size", c_int32),
    ("hidden_tokens", c_int32),
    ("logits", POINTER(c_float)),
    ("vocab_size", c_int32),
    ("logits_tokens", c_int32),
    ("prefill_time_ms", c_float),
    ("prefill_tokens", c_int32),
    ("generate_time_ms", c_float),
    ("generate_tokens", c_int32),
    ("memory_usage_mb", c_float),
)
_CALLBACK: Fields = tuple(
    (f"{kind}_{part}", c_void_p) for kind in ("result", "tokenizer", "embed") for part in ("callback", "userdata")
)
LAYOUTS = {
    "1.3.0": Layout(
        "1.3.0",
        {
            "ExtendParam": (120, _EXTEND),
            "Param": (184, _PARAM),
            "Input": (160, _INPUT),
            "InferParam": (40, _INFER_PARAM),
            "SamplingParam": (36, _SAMPLING),
            "Result": (72, _RESULT),
            "Callback": (48, _CALLBACK),
        },
    )
}
FUNCTIONS = ("createDefaultParam", "init", "run", "abort", "destroy", "clear_kv_cache", "get_kv_cache_size")


def structures(layout: Layout) -> dict[str, type[ctypes.Structure]]:
    """ctypes classes of ``layout``. Raises BackendError where a size is not the one in the table."""
    made: dict[str, type[ctypes.Structure]] = {}
    for name, (size, fields) in layout.structures.items():
        resolved = [(field, made[kind] if isinstance(kind, str) else kind) for field, kind in fields]
        made[name] = type(name, (ctypes.Structure,), {"_fields_": resolved})
        if ctypes.sizeof(made[name]) != size:
            raise BackendError(
                f"RKLLM{name} has {ctypes.sizeof(made[name])} bytes here and {size} in RKLLM {layout.version}; the "
                "binding needs a 64-bit Linux."
            )
    return made


def find_library() -> Path:
    """The runtime's file: the environment variable, else the system's library folders. Raises BackendError."""
    named = os.environ.get(LIBRARY_VARIABLE)
    places = [Path(named)] if named else [Path(folder) / LIBRARY_NAME for folder in ("/usr/lib", "/usr/local/lib")]
    for place in places:
        if place.is_file():
            return place
    raise BackendError(
        f"RKLLM's runtime is not at {' or '.join(map(str, places))}; copy {LIBRARY_NAME} {VERSION} from Rockchip's "
        f"rknn-llm release to /usr/lib, or set {LIBRARY_VARIABLE} to its path."
    )


def load_library(path: Path) -> ctypes.CDLL:
    """The library at ``path``, once a child process has found it to be the version of the table.

    Raises BackendError for a file that is not such a library, or one of another version.
    """
    check_machine(path)
    command = [sys.executable, "-P", "-m", "edge.backends.rkllm_library", str(path.absolute())]
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise BackendError(f"{path} does not come back from its first call; use librkllmrt.so {VERSION}.") from exc
    if done.returncode != EXIT_SAME:
        words = done.stdout.decode(errors="replace").strip() or f"its first call ended with code {done.returncode}"
        raise BackendError(f"{path} is not RKLLM {VERSION} ({words}); use the runtime of that release.")
    return ctypes.CDLL(str(path))


def check_machine(path: Path) -> None:
    """Raises BackendError unless ``path`` is a shared library for this processor."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError as exc:
        raise BackendError(f"{path} cannot be read ({exc.strerror}); check {LIBRARY_VARIABLE}.") from exc
    machine = int.from_bytes(head[18:20], "little")
    wanted = ELF_MACHINES.get(platform.machine())
    if head[:5] != b"\x7fELF\x02" or machine != wanted:
        raise BackendError(
            f"{path} is not a shared library for {platform.machine()} (its machine number is {machine}, not {wanted}); "
            "RKLLM runs on Rockchip boards only."
        )


def what_is_wrong(library: ctypes.CDLL, kinds: Mapping[str, type[ctypes.Structure]]) -> str:
    """Why ``library`` cannot be the version whose structures are ``kinds``; empty where nothing speaks against it.

    A parameter block of another layout puts its numbers at other offsets, where they make no sense.
    """
    missing = [f"rkllm_{name}" for name in FUNCTIONS if not hasattr(library, f"rkllm_{name}")]
    if missing:
        return f"it lacks {missing[0]}"
    create = library.rkllm_createDefaultParam
    # Room behind the structure: a library whose parameters are longer writes there and not over somebody's memory.
    roomy = type("RoomyParam", (ctypes.Structure,), {"_fields_": [("param", kinds["Param"]), ("room", c_uint8 * 1024)]})
    create.restype = roomy
    param: Any = create().param
    checks = {
        "max_context_len": 0 < param.max_context_len <= 2**20,
        "max_new_tokens": -1 <= param.max_new_tokens <= 2**20,
        "top_k": 0 <= param.top_k <= 2**20,
        "top_p": 0 <= param.top_p <= 1,
        "temperature": 0 <= param.temperature <= 10,
        "repeat_penalty": 0 < param.repeat_penalty <= 10,
        "mirostat": 0 <= param.mirostat <= 2,
        "enabled_cpus_num": 0 <= param.extend_param.enabled_cpus_num <= 64,
    }
    wrong = [name for name, is_plausible in checks.items() if not is_plausible]
    return f"its default parameters make no sense at {wrong[0]}" if wrong else ""


if __name__ == "__main__":
    try:
        found = what_is_wrong(ctypes.CDLL(sys.argv[1]), structures(LAYOUTS[VERSION]))
    except OSError as exc:
        found = str(exc)
    sys.stdout.write(found)
    sys.exit(EXIT_OTHER if found else EXIT_SAME)
