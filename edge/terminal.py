"""What a person sees: a streaming answer, the line that closes it, and the text they pipe in.

Knows: streams, colour, and how an answer is put in words. Does not know: engines, options, or what a command does.
Answers go to standard output, everything about them to standard error.
"""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from edge.chat_types import Answer, StreamEvent, ToolCall
from models.errors import PromptError

if TYPE_CHECKING:
    from edge.running_answer import RunningAnswer

DIM, NORMAL = "\x1b[2m", "\x1b[0m"
PIPE_PATIENCE_S = 3.0  # how long a pipe beside a prompt argument may stay silent

ENDINGS = {
    "length": "cut at --max-tokens",
    "context": "the context is full",
    "stopped": "stopped",
    "deadline": "cut at the deadline",
    "loop": "cut because it went in circles",
}

# Control characters a model might write would steer the terminal; line ends and tabs stay.
_UNPRINTABLE = {code: "\ufffd" for code in (*range(9), *range(11, 32), *range(127, 160))}


def has_colour(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that wants colour (NO_COLOR and TERM=dumb are honoured)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Screen:
    """Shows answers, one after the other. ``shows_thinking`` None: on a terminal only."""

    def __init__(self, *, shows_thinking: bool | None = None) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._dims_output = has_colour(sys.stdout)
        self._dims_notes = has_colour(sys.stderr)
        self.shows_thinking = self._is_terminal if shows_thinking is None else shows_thinking

    def show(self, events: Iterable[StreamEvent]) -> Answer:
        """Print the text of ``events`` as it comes, then the closing line; give the result."""
        result: Answer | None = None
        shown = ""  # the kind of text printed last
        try:
            for event in events:
                text = event.text if event.tool_call is None else call_line(event.tool_call)
                if event.kind in ("answer", "tool_call") or (event.kind == "thinking" and self.shows_thinking):
                    text = printable(text) if self._is_terminal else text
                    self._write(self._heading(shown, event.kind) + text)
                    shown = event.kind
                result = event.result or result
        finally:  # what went wrong is told on a line of its own, and not dimmed
            self._write(self._tail(shown))
        assert result is not None  # a stream that does not raise ends in a result
        self.note(closing_line(result))
        return result

    def note(self, sentence: str) -> None:
        """One line on standard error, dimmed where it can be."""
        line = printable(sentence) if sys.stderr.isatty() else sentence
        print(f"{DIM}{line}{NORMAL}" if self._dims_notes else line, file=sys.stderr, flush=True)

    def _heading(self, shown: str, kind: str) -> str:
        """What stands between the text printed last and the first of ``kind``."""
        if kind == "tool_call":  # on a line of its own
            return self._tail(shown)
        if shown == kind or not self.shows_thinking:
            return ""
        if kind == "thinking":
            return DIM if self._dims_output else "[thinking]\n"
        if not shown:
            return ""
        gap = "" if shown == "tool_call" else "\n\n"
        return f"{NORMAL}{gap}" if self._dims_output else f"{gap}[answer]\n"

    def _tail(self, shown: str) -> str:
        """What ends the text printed last and its line."""
        if shown == "tool_call":
            return ""
        return (NORMAL if shown == "thinking" and self._dims_output else "") + ("\n" if shown else "")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def call_line(call: ToolCall) -> str:
    """A tool call as a line of JSON: what a script reads."""
    return json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False) + "\n"


def printable(text: str) -> str:
    """``text`` without what would steer a terminal."""
    return text.translate(_UNPRINTABLE)


def closing_line(answer: Answer) -> str:
    """Mode and why, tokens, time to first token, speed, and how it ended unless that was with an answer."""
    usage, timings, decision = answer.usage, answer.timings, answer.decision
    mode = {True: "think on", False: "think off", None: "think undecided"}[decision.think]
    judge = f"{usage.judge_tokens} judge + " if usage.judge_tokens else ""
    parts = [
        f"{mode}: {decision.reason}",
        f"{judge}{usage.thinking_tokens} thinking + {usage.answer_tokens} answer tokens",
    ]
    if timings.ttft_s:
        parts.append(f"first token {timings.load_s + timings.ttft_s:.2f} s")
    parts.append(f"{timings.decode_tokens_per_s:.0f} tokens/s")
    if timings.start_s:
        parts.append(f"{timings.load_s + timings.total_s:.2f} s in all, after {timings.start_s:.2f} s to start")
    ending = ENDINGS.get(answer.finish_reason, "")
    if answer.document == "cut":
        parts.append(f"no valid document: {ending or 'the model ended by itself'}")
    elif not answer.has_answer:
        parts.append(f"no answer: {ending or 'the model ended by itself'}")
    elif ending:
        parts.append(f"{ending}, and completed" if answer.document == "completed" else ending)
    if answer.malformed_tool_calls:
        parts.append(f"malformed tool calls kept as text: {answer.malformed_tool_calls}")
    return f"[{' · '.join(parts)}]"


@contextmanager
def stopped_by_interrupt(running: RunningAnswer, *, thinking_first: bool = False) -> Iterator[None]:
    """Within this block Ctrl-C stops ``running`` and keeps what was said; pressed again it interrupts as usual.

    ``thinking_first``: the first Ctrl-C during the thinking only ends that, and the model answers.
    """
    has_stopped_thinking = not thinking_first

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal has_stopped_thinking
        if not has_stopped_thinking and not running.is_answering:
            has_stopped_thinking = True
            running.stop_thinking()
            return
        running.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def asks_for_input(words: Sequence[str]) -> bool:
    """Whether the last word is ``-``; anywhere else it is a minus."""
    return bool(words) and words[-1] == "-"


def read_prompt(words: Sequence[str]) -> str | None:
    """The prompt: the words of the command line, then what is piped in. None: nobody piped, so a person may type.

    A last word ``-`` asks for standard input, whose last line end is no part of the prompt. Raises PromptError for an
    empty prompt and for input that is not UTF-8.
    """
    asks = asks_for_input(words)
    said = " ".join(words[:-1] if asks else words)
    if sys.stdin is not None and sys.stdin.isatty() and not asks:
        return said if words else None
    piped = _read_pipe(is_optional=bool(said.strip()) and not asks).rstrip("\r\n")
    prompt = "\n\n".join(text for text in (said, piped) if text.strip())
    if not prompt.strip():
        raise PromptError("The prompt is empty: write a question after the command, or pipe one in.")
    return prompt


def _read_pipe(*, is_optional: bool) -> str:
    """Standard input to its end; when ``is_optional`` only where something is really piped in."""
    if sys.stdin is None or (is_optional and not _has_input()):
        return ""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise PromptError(
            f"Standard input is not UTF-8 (byte 0x{data[exc.start]:02x} at position {exc.start}); "
            "convert it first, for example with iconv."
        ) from exc


def _has_input() -> bool:
    """Whether standard input is a file, or a pipe in which something arrives before patience runs out."""
    kind = os.fstat(sys.stdin.fileno()).st_mode
    if stat.S_ISREG(kind):
        return True
    if not stat.S_ISFIFO(kind):
        return False
    if select.select([sys.stdin], [], [], PIPE_PATIENCE_S)[0]:
        return True
    print("Nothing came from standard input; add - to the command to wait for it.", file=sys.stderr)
    return False
