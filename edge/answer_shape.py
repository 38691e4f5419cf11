"""The shape of an answer: a JSON Schema or a grammar decides which tokens may come next, and how to end in time.

Knows: llguidance, its vocabularies made from our tokenizers' bytes, and the bytes of the document so far.
Does not know: logits, sampling, thinking, deadlines, or who asks. llguidance is imported when a shape is asked for.

The mask over a large vocabulary costs milliseconds, so it is made only where the likeliest token is refused; asking
about one token costs microseconds. JSON is written without white space: where it were free, no document would be the
shortest. The shortest end of a document is looked for byte by byte, beside the model's own vocabulary.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import repeat
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from edge.grammar_check import check_grammar_ends
from edge.schema_check import check_schema_ends, required_names
from edge.shape_end import NUM_BYTES, ORDERS, close_json, search_end
from models.errors import BackendError, UsageError

if TYPE_CHECKING:
    from edge.chat_types import AnswerOptions
    from edge.loaded_model import LoadedModel
    from models.tokenizer import ChatTokenizer

REQUIREMENT = "llguidance>=1.9,<2"  # as in pyproject.toml
GROWTH = 1.4  # how much longer or deeper a document has to be before its end is looked for again
END_MARGIN = 3.0  # times the longest look so far: for the next, and for the one that ends the document
NOT_TEXT = b"\xff"  # in front of a token's bytes: it has no place in a document

BRACKETS = {byte: 1 for byte in b"{[("} | {byte: -1 for byte in b"}])"}

_vocabularies: WeakKeyDictionary[ChatTokenizer, Any] = WeakKeyDictionary()


def make_shape(
    model: LoadedModel, options: AnswerOptions, clock: Callable[[], float] = time.perf_counter
) -> AnswerShape | None:
    """The shape that ``options`` ask for, None for free text. ``clock`` gives seconds.

    Raises UsageError for a schema or grammar that cannot be used, and where llguidance is not installed.
    """
    name = "schema" if options.schema is not None else "grammar"
    if options.schema is None and options.grammar is None:
        return None
    if options.think == "on" and model.dialect.asks_for_steps:
        raise UsageError(
            f"The dialect {model.dialect.name} of {model.name} thinks in its answer, where a {name} leaves no room; "
            "leave thinking on out."
        )
    guidance = _import_llguidance(name)
    if options.grammar is not None:
        grammar = _lark_grammar(guidance, options.grammar)
        return AnswerShape(guidance, grammar, name, _vocabulary(guidance, model), clock=clock)
    schema = _read_schema(options.schema)
    grammar = _schema_grammar(guidance, schema)
    return AnswerShape(guidance, grammar, name, _vocabulary(guidance, model), required_names(schema), clock=clock)


class AnswerShape:
    """One document under way. ``shortest`` is the shortest one there is, as far as could be found.

    ``end_s`` is what looking for ends may still take, in seconds. ``vocabulary`` is llguidance's. Raises UsageError for
    a ``grammar`` it does not take, or that cannot end.
    """

    def __init__(
        self,
        guidance: Any,
        grammar: str,
        name: str,
        vocabulary: Any,
        required: tuple[str, ...] = (),
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._matcher = guidance.LLMatcher(vocabulary, grammar, log_level=0)
        if self._matcher.is_error():
            raise UsageError(f"The {name} cannot be used ({_first_line(self._matcher.get_error())}); correct it.")
        self._bytes_matcher = guidance.LLMatcher(_byte_vocabulary(guidance), grammar, log_level=0)
        self._is_json = name == "schema"
        self._names = required  # of a schema's properties: what closes an object soonest
        self._written: list[bytes] = []  # one entry a token
        self._depths = [0]  # brackets open behind each
        self._next_size = self._next_depth = 0  # when to look for an end again
        self._clock = clock
        self._size = vocabulary.vocab_size
        end = self._end(b"")
        if end is None:
            raise UsageError(f"No document that follows the {name} was found; a {name} must allow a short one.")
        self.shortest = end.decode(errors="replace")
        self.end_s = 0.0
        self.measure_end()  # again, now that everything is warm

    def allows(self, token: int) -> bool:
        """Whether ``token`` may come next."""
        return bool(self._matcher.validate_tokens([token]))

    def mask(self) -> NDArray[np.bool_]:
        """``(vocab_size,)``, True where a token may come next. Raises BackendError where none may."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: self._size].astype(bool)
        if self._matcher.is_error():
            raise BackendError(
                f"The document cannot go on ({_first_line(self._matcher.get_error())}); use a simpler one."
            )
        return mask

    def masked(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy of ``(vocab_size,)`` logits, -infinity where a token may not come next. Raises BackendError."""
        return np.where(self.mask()[: len(logits)], logits, np.float32(-np.inf))

    def take(self, token: int, text: bytes) -> None:
        """``token``, which is allowed and stands for ``text``, was written."""
        self._matcher.consume_token(token)
        self._written.append(text)
        self._depths.append(self._depths[-1] + sum(map(BRACKETS.get, text, repeat(0))))

    def take_back(self, num_tokens: int) -> None:
        """The last tokens were unsaid."""
        self._matcher.rollback(num_tokens)
        del self._written[len(self._written) - num_tokens :]
        del self._depths[len(self._depths) - num_tokens :]

    @property
    def has_grown(self) -> bool:
        """Whether it is so much longer or deeper than when an end was looked for that this may take longer now."""
        return len(self._written) >= self._next_size or self._depths[-1] >= self._next_depth

    def measure_end(self) -> None:
        """Look for an end, to know how long that takes by now."""
        start_s = self._clock()
        self.completion()
        self.end_s = max(self.end_s, END_MARGIN * (self._clock() - start_s))
        self._next_size = int(GROWTH * len(self._written)) + 1
        self._next_depth = int(GROWTH * max(self._depths[-1], 0)) + 1

    @property
    def is_begun(self) -> bool:
        """Whether something was written."""
        return bool(self._written)

    @property
    def can_end(self) -> bool:
        """Whether what was written is a valid document."""
        return bool(self._matcher.is_accepting())

    @property
    def is_complete(self) -> bool:
        """Whether it is valid and nothing can follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    @property
    def brackets(self) -> str:
        """What closes the JSON so far, where that is brackets alone, behind a value; empty where it is not."""
        written = b"".join(self._written)
        if not self._is_json or written[-1:] in (b"", b"{", b"[", b",", b":") or not (end := self._end(written)):
            return ""
        return end.decode() if set(end) <= set(b"}]") else ""

    def completion(self) -> str | None:
        """The text that makes what was written so far a valid document; None where none was found.

        It follows the whole characters of what was written: the bytes of one that is still open are part of it.
        """
        written = b"".join(self._written)
        end = b"" if self.can_end else self._end(written)
        if end is None:
            return None
        return (written + end).decode(errors="replace")[len(written.decode(errors="ignore")) :]

    def _end(self, written: bytes) -> bytes | None:
        """The shortest end behind ``written``: of a grammar by search, of a schema what closes it at once."""
        matcher = self._bytes_matcher.deep_copy()
        if matcher.try_consume_tokens(list(written)) < len(written):
            return None
        ways: list[Callable[[], bytes | None]] = [lambda: search_end(matcher)]
        greedy = [partial(close_json, matcher, written, self._names, order) for order in ORDERS]
        ways = [*greedy, *ways] if self._is_json else [*ways, *greedy]
        return next((end for way in ways if (end := way()) is not None), None)


def _read_schema(schema: Any) -> dict[str, Any]:
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError) as exc:
            raise UsageError(f"The schema is not JSON ({exc}); write a JSON Schema.") from exc
    if not isinstance(schema, dict):
        raise UsageError(f"The schema is {json.dumps(schema, default=str)[:40]}; a JSON Schema here is an object.")
    if "x-guidance" in schema:
        raise UsageError("The schema sets x-guidance, which is not supported; leave it out.")
    check_schema_ends(schema)
    return schema


def _schema_grammar(guidance: Any, schema: dict[str, Any]) -> str:
    try:
        return str(
            guidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides={"whitespace_flexible": False})
        )
    except (ValueError, TypeError) as exc:
        raise UsageError(f"The schema cannot be used ({_first_line(str(exc))}); correct it.") from exc


def _lark_grammar(guidance: Any, text: Any) -> str:
    if not isinstance(text, str):
        raise UsageError(f"The grammar is of the type {type(text).__name__}; write it as text in Lark's syntax.")
    check_grammar_ends(text)
    return str(guidance.LLMatcher.grammar_from_lark(text))


def _first_line(message: str) -> str:
    line = " ".join(message.partition("\n<")[0].split())
    return line[:200].rstrip(".") or "no reason given"


def _import_llguidance(name: str) -> Any:
    try:
        import llguidance
    except ImportError as exc:
        raise UsageError(f"A {name} needs llguidance, which is not installed; pip install '{REQUIREMENT}'.") from exc
    return llguidance


class _Words:
    """A vocabulary as llguidance's ``TokenizerWrapper`` wants it."""

    bos_token_id = None
    special_token_ids: tuple[int, ...] = ()

    def __init__(self, tokens: list[bytes], eos_token_id: int, encode: Callable[[str], list[int]]) -> None:
        self.tokens = tokens
        self.eos_token_id = eos_token_id
        self._encode = encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)


def _vocabulary(guidance: Any, model: LoadedModel) -> Any:
    """The model's vocabulary, made once for a tokenizer; control texts and stop tokens have no place in documents."""
    tokenizer = model.tokenizer
    size = max(model.backend.vocab_size, tokenizer.vocab_size)
    known = _vocabularies.get(tokenizer)
    if known is None or known.vocab_size != size:
        control = {text.encode() for text in model.dialect.control_texts}
        tokens = [tokenizer.token_bytes(token) for token in range(size)]
        tokens = [
            NOT_TEXT + text if token in model.stop_ids or text in control or _looks_like_a_mark(text) else text
            for token, text in enumerate(tokens)
        ]
        words = _Words(tokens, min(model.stop_ids, default=0), tokenizer.encode_control)
        known = guidance.LLTokenizer(guidance.TokenizerWrapper(words))
        _vocabularies[tokenizer] = known
    return known


def _looks_like_a_mark(text: bytes) -> bool:
    return len(text) > 4 and text.startswith((b"<|", "<｜".encode())) and text.endswith((b"|>", "｜>".encode()))


@lru_cache(maxsize=1)
def _byte_vocabulary(guidance: Any) -> Any:
    words = _Words(
        [bytes([byte]) for byte in range(NUM_BYTES)] + [NOT_TEXT], NUM_BYTES, lambda text: list(text.encode())
    )
    return guidance.LLTokenizer(guidance.TokenizerWrapper(words), slices=[])
