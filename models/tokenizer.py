"""Text to tokens and back, so that user text can never forge control.

Knows: a byte-level BPE vocabulary (tokenizer.json through ``tokenizers``), which texts are control, how bytes become
text without cutting a character. Does not know: dialects' layouts, backends, sampling.

Control parts are encoded by the whole tokenizer. User parts are encoded without its added tokens, and every control
text inside them is cut in two at a place where the control's own encoding has no token border: whatever the
vocabulary, the ids then differ.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from models.dialect_base import Dialect, Prompt
from models.errors import BundleError, ModelError, PromptError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KNOWN_PARTS, KNOWN_PART_CHARACTERS = 256, 2000  # of prompts whose ids are kept, the newest and short ones


class ChatTokenizer(Protocol):
    """What every backend's text goes through."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids; a model's own table may be padded beyond it."""
        ...

    def encode_control(self, text: str) -> list[int]:
        """Ids of text that may become tag and mark tokens."""
        ...

    def encode_user(self, text: str) -> list[int]:
        """Ids of text that never contain the ids of a control text. Raises PromptError for text that is not UTF-8."""
        ...

    def encode_prompt(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """Ids of the prompt (one BOS where the model wants one), and ids of its forced text."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """The bytes that ``token`` stands for; none for an id without a token."""
        ...

    def token_id(self, text: str) -> int | None:
        """The token whose text is exactly ``text``, or None."""
        ...


class ControlTextCutter:
    """Cuts user text inside every control text, for any tokenizer.

    ``encode`` gives the ids of control text, ``token_bytes`` the bytes of an id.
    Raises ModelError when a control text is written in single characters, so that no cut can tell it apart.
    """

    def __init__(
        self, control_texts: Iterable[str], encode: Callable[[str], list[int]], token_bytes: Callable[[int], bytes]
    ) -> None:
        self._encode = encode
        self._token_bytes = token_bytes
        self._cuts = {text: self._cut(text) for text in control_texts}
        alternatives = "|".join(re.escape(text) for text in self._cuts)
        self._start = re.compile(f"(?={alternatives or '(?!)'})")  # a look-ahead, so that overlapping texts are found

    def pieces(self, text: str) -> list[str]:
        """``text`` in pieces to be encoded one by one; one piece when it holds no control text."""
        cuts = {0, len(text)}
        for match in self._start.finditer(text):
            start = match.start()
            cuts.update(start + cut for control, cut in self._cuts.items() if text.startswith(control, start))
        return [text[begin:end] for begin, end in pairwise(sorted(cuts))]

    def _cut(self, text: str) -> int:
        """The first place inside ``text`` that is no token border, alone and between line ends."""
        borders = self._borders(text, "") | self._borders(text, "\n")
        for cut in range(1, len(text)):
            if len(text[:cut].encode()) not in borders:
                return cut
        raise ModelError(
            f"This vocabulary writes the control text {text!r} in single characters, so user text could forge it; "
            "use a model whose tags are tokens."
        )

    def _borders(self, text: str, around: str) -> set[int]:
        """Byte offsets in ``text`` at which a token ends when it is encoded with ``around`` on both sides."""
        tokens = [self._token_bytes(token) for token in self._encode(f"{around}{text}{around}")]
        before, found, _ = b"".join(tokens).partition(text.encode())
        return {end - len(before) for end in accumulate(map(len, tokens))} if found else set()


class BpeChatTokenizer:
    """A byte-level BPE ``tokenizers.Tokenizer`` as a ChatTokenizer.

    ``control_texts`` are texts that user text must not forge. ``bos_token_id`` is the token every prompt starts with
    exactly once, whether or not the template writes it; None: the prompt is taken as it is.
    Raises ModelError when the vocabulary is not byte-level.
    """

    def __init__(self, tokenizer: Tokenizer, control_texts: Iterable[str], bos_token_id: int | None = None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.bos_token_id = bos_token_id
        self._tokenizer = tokenizer
        self._plain = _without_added_tokens(tokenizer)
        _check_byte_level(self._plain)
        added = tokenizer.get_added_tokens_decoder()
        self._bytes = {token: entry.content.encode() for token, entry in added.items()}
        special = [entry.content for entry in added.values() if entry.special]
        texts = dict.fromkeys((*control_texts, *(text for text in special if len(text) > 1)))
        self._cutter = ControlTextCutter(texts, self.encode_control, self.token_bytes)
        self._encode_known = lru_cache(KNOWN_PARTS)(self._encode_part)  # each turn repeats marks and history
        self._ids: dict[str, int | None] = {}  # of the texts that were asked for, which are tags

    @classmethod
    def from_file(cls, path: Path, control_texts: Iterable[str], bos_token_id: int | None = None) -> BpeChatTokenizer:
        """Open a ``tokenizer.json``. Raises BundleError when it is missing or damaged."""
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as exc:  # tokenizers raises bare Exception
            raise BundleError(f"The tokenizer {path} cannot be read ({exc}); fetch or build the bundle again.") from exc
        return cls(tokenizer, control_texts, bos_token_id)

    @property
    def vocab_size(self) -> int:
        """Number of token ids; a model's own table may be padded beyond it."""
        return int(self._tokenizer.get_vocab_size())

    def encode_control(self, text: str) -> list[int]:
        """Ids of text that may become tag and mark tokens; never a BOS of the tokenizer's own."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_user(self, text: str) -> list[int]:
        """Ids of text that never contain the ids of a control text. Raises PromptError for text that is not UTF-8."""
        _check_utf8(text)
        if self._plain.normalizer is not None:  # what is cut must be what is encoded
            text = self._plain.normalizer.normalize_str(text)
        pieces = self._cutter.pieces(text)
        return [token for piece in pieces for token in self._plain.encode(piece, add_special_tokens=False).ids]

    def encode_prompt(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """Ids of the prompt (one BOS where the model wants one), and ids of its forced text."""
        tokens: list[int] = []
        for part in prompt.parts:
            is_short = len(part.text) <= KNOWN_PART_CHARACTERS
            tokens += (self._encode_known if is_short else self._encode_part)(part.text, part.is_control)
        return _with_one_bos(tokens, self.bos_token_id), list(self._encode_known(prompt.forced, True))

    def _encode_part(self, text: str, is_control: bool) -> tuple[int, ...]:
        return tuple(self.encode_control(text) if is_control else self.encode_user(text))

    def token_bytes(self, token: int) -> bytes:
        """The bytes that ``token`` stands for; none for an id without a token."""
        known = self._bytes.get(token)
        if known is None:
            letters = self._tokenizer.id_to_token(token) if token >= 0 else None
            known = self._bytes[token] = _bytes_of(letters or "")
        return known

    def token_id(self, text: str) -> int | None:
        """The token whose text is exactly ``text``, or None."""
        if text not in self._ids:
            token = self._tokenizer.token_to_id(text)
            if token is None or self.token_bytes(token) != text.encode():
                token = self._tokenizer.token_to_id("".join(LETTER_OF_BYTE[byte] for byte in text.encode()))
            self._ids[text] = token
        return self._ids[text]


class TextDecoder:
    """Tokens to text, one at a time, never cutting a character; bytes that are no UTF-8 become U+FFFD."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._token_bytes = tokenizer.token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The text that is complete after ``token``; empty while a character is still open."""
        return self._decoder.decode(self._token_bytes(token))

    @property
    def is_whole(self) -> bool:
        """Whether no character is open."""
        return not self._decoder.getstate()[0]

    def drop(self) -> None:
        """Forget an open character, whose bytes will never come."""
        self._decoder.reset()

    def flush(self) -> str:
        """What a last open character leaves."""
        return self._decoder.decode(b"", final=True)


def stop_token_ids(dialect: Dialect, tokenizer: ChatTokenizer, vocab_size: int | None = None) -> frozenset[int]:
    """The ids that end an answer: the dialect's stop texts that are tokens here, and its ids for this vocabulary size.

    ``vocab_size`` is the model's own, where it differs from the tokenizer's.
    """
    found = (tokenizer.token_id(text) for text in dialect.stop_tokens)
    by_size = dialect.stop_ids.get(tokenizer.vocab_size if vocab_size is None else vocab_size, ())
    return frozenset({token for token in found if token is not None} | set(by_size))


def _byte_letters() -> dict[int, str]:
    """The printable letter that byte-level BPE writes for each byte (GPT-2's table): itself, or 256 and up."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


LETTER_OF_BYTE = _byte_letters()
BYTE_OF_LETTER = {letter: byte for byte, letter in LETTER_OF_BYTE.items()}


def _bytes_of(letters: str) -> bytes:
    if not BYTE_OF_LETTER.keys() >= set(letters):  # an unused entry, written as ordinary text
        return letters.encode()
    return bytes(BYTE_OF_LETTER[letter] for letter in letters)


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """The same model and splitting without added tokens; the vocabulary is shared, not copied."""
    from tokenizers import Tokenizer

    plain = Tokenizer(tokenizer.model)
    if tokenizer.normalizer is not None:
        plain.normalizer = tokenizer.normalizer
    if tokenizer.pre_tokenizer is not None:
        plain.pre_tokenizer = tokenizer.pre_tokenizer
    return plain


def _check_byte_level(plain: Tokenizer) -> None:
    """Raises ModelError unless every byte has a token and text is encoded as it stands."""
    missing = [byte for byte, letter in LETTER_OF_BYTE.items() if plain.token_to_id(letter) is None]
    letters = "".join(str(plain.id_to_token(token)) for token in plain.encode("ab", add_special_tokens=False).ids)
    if missing or letters != "ab":
        fault = f"{len(missing)} of 256 bytes have no token" if missing else f"'ab' is encoded as {letters!r}"
        raise ModelError(f"The tokenizer is not a byte-level BPE ({fault}); use a model with such a vocabulary.")


def _check_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        found = f"U+{ord(text[exc.start]):04X} at position {exc.start}"
        raise PromptError(f"The prompt is not valid Unicode text ({found}); send it as UTF-8.") from exc


def _with_one_bos(tokens: Sequence[int], bos_token_id: int | None) -> list[int]:
    if bos_token_id is None:
        return list(tokens)
    start = next((index for index, token in enumerate(tokens) if token != bos_token_id), len(tokens))
    return [bos_token_id, *tokens[start:]]
