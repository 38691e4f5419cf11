"""What the project claims, measured: each bench prints a table for people, then with ``--json`` one line for programs.

Knows: which benches there are. Does not know: what they measure. Nobody imports this package but the command line.
"""

from __future__ import annotations

from importlib import import_module

BENCHES: dict[str, str] = {
    "think": "accuracy, tokens and thinking rate of the embedded model with thinking off, on and auto",
    "deadline": "answers before their deadline, simulated and real; accuracy by then; the second turn of a chat",
    "router": "whether thinking pays, told from the text: speed, unseen sources and templates, calibration, attacks",
    "quant": "time and memory of `edge quantize`, divergence from the float model, accuracy of the shipped models",
    "devices": "accuracy, parity with the reference, speed and deadlines on every backend that runs here",
    "serve": "the server: deadlines under load, refusals, what it adds to a token, memory, malformed requests",
    "speed": "time to first token, prefill and decode speed, memory, start time",
}


def run(name: str, arguments: list[str]) -> int:
    """Run the bench ``name`` with its own command-line ``arguments``; returns the exit code.

    Raises UsageError for an unknown name.
    """
    from models.errors import UsageError

    if name not in BENCHES:
        raise UsageError(f"There is no bench {name!r}; use one of {', '.join(BENCHES)}.")
    exit_code: int = import_module(f"bench_edge.{name}").main(arguments)
    return exit_code
