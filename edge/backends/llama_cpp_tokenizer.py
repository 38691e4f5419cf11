"""llama.cpp's own tokenizer as a ChatTokenizer, for GGUF files whose vocabulary is no byte-level BPE.

Knows: llama.cpp's vocabulary functions and their traps. Does not know: dialects' layouts, sequences, sampling.

``parse_special`` off is not enough for user text: llama.cpp still makes ids of tokens marked as user-defined, so
control texts are cut in two as everywhere else. And a sentence-piece vocabulary begins every text with a space of its
own: that is right at the start and after a mark, and wrong where one text goes on with another.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

from edge.backends.llama_library import load_library
from models.dialect_base import Prompt
from models.errors import BackendError, PromptError
from models.tokenizer import ControlTextCutter

NO_TOKEN = -1
PIECE_BYTES = 256
LEAD = "\n"


class LlamaCppTokenizer:
    """The vocabulary of ``model``, a handle that must stay open; see ``models.tokenizer.ChatTokenizer``.

    ``control_texts``, and every token that the file marks as control or user-defined, cannot be forged by user text.
    """

    def __init__(self, model: int, control_texts: Iterable[str]) -> None:
        self._library: Any = load_library()
        self._vocabulary = self._library.llama_model_get_vocab(model)
        self._bytes: dict[int, bytes] = {}
        bos = int(self._library.llama_vocab_bos(self._vocabulary))
        wants_bos = self._library.llama_vocab_get_add_bos(self._vocabulary) and bos != NO_TOKEN
        self.bos_token_id = bos if wants_bos else None
        self._ids = {text: token for token, text in self._marked_tokens()}
        self._marks = frozenset(self._ids.values())
        self._lead = self._tokenize(LEAD, parse_special=False)
        texts = dict.fromkeys((*control_texts, *(text for text in self._ids if len(text) > 1)))
        self._cutter = ControlTextCutter(texts, self.encode_control, self.token_bytes)

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return int(self._library.llama_vocab_n_tokens(self._vocabulary))

    def encode_control(self, text: str) -> list[int]:
        """Ids of text that may become tag and mark tokens; never a BOS of the tokenizer's own."""
        return self._tokenize(text, parse_special=True)

    def encode_user(self, text: str) -> list[int]:
        """Ids of text that never contain the ids of a control text. Raises PromptError for text that is not UTF-8."""
        return self._encode_user_after([], text)

    def encode_prompt(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """Ids of the prompt (one BOS where the model wants one), and ids of its forced text."""
        tokens: list[int] = []
        for part in prompt.parts:
            encode = self._encode_control_after if part.is_control else self._encode_user_after
            tokens += encode(tokens, part.text)
        if self.bos_token_id is not None and tokens[:1] != [self.bos_token_id]:
            tokens.insert(0, self.bos_token_id)
        return tokens, self._encode_control_after(tokens, prompt.forced)

    def _encode_control_after(self, before: list[int], text: str) -> list[int]:
        return self._tokenize(text, parse_special=True, goes_on=self._goes_on(before))

    def _encode_user_after(self, before: list[int], text: str) -> list[int]:
        tokens: list[int] = []
        for piece in self._cutter.pieces(text):
            tokens += self._tokenize(piece, parse_special=False, goes_on=self._goes_on(tokens or before))
        return tokens

    def _goes_on(self, before: list[int]) -> bool:
        """Whether text after ``before`` is in the middle of a text, not behind a mark or at the start."""
        return bool(before) and before[-1] not in self._marks

    def token_bytes(self, token: int) -> bytes:
        """The bytes that ``token`` stands for, marks included; none for an id without a token."""
        known = self._bytes.get(token)
        if known is None:
            known = self._bytes[token] = self._piece(token) if 0 <= token < self.vocab_size else b""
        return known

    def token_id(self, text: str) -> int | None:
        """The token whose text is exactly ``text``, or None."""
        marked = self._ids.get(text)
        if marked is not None:
            return marked
        wanted = text.encode()
        return next((token for token in range(self.vocab_size) if self.token_bytes(token) == wanted), None)

    def _tokenize(self, text: str, *, parse_special: bool, goes_on: bool = False) -> list[int]:
        if not text:
            return []
        if goes_on:  # a line end in front takes the space of its own, and is taken off with it
            found = self._tokenize(LEAD + text, parse_special=parse_special)
            if found[: len(self._lead)] == self._lead:
                return found[len(self._lead) :]
        try:
            data = text.encode()
        except UnicodeEncodeError as exc:
            raise PromptError(f"The prompt is not valid Unicode text ({exc.reason}); send it as UTF-8.") from exc
        room = 2 * len(data) + 8
        ids = (self._library.llama_token * room)()
        count = self._library.llama_tokenize(self._vocabulary, data, len(data), ids, room, False, parse_special)
        if count < 0:
            raise BackendError(f"llama.cpp cannot tokenize a text of {len(data)} bytes; use another model.")
        return list(ids[:count])

    def _piece(self, token: int) -> bytes:
        room = PIECE_BYTES
        while True:
            piece = ctypes.create_string_buffer(room)
            length = self._library.llama_token_to_piece(self._vocabulary, token, piece, room, 0, True)
            if length >= 0:
                return piece.raw[:length]
            room = -length

    def _marked_tokens(self) -> Iterable[tuple[int, str]]:
        """Tokens the file calls control or user-defined, with their text."""
        library = self._library
        marks = library.LLAMA_TOKEN_ATTR_CONTROL | library.LLAMA_TOKEN_ATTR_USER_DEFINED
        for token in range(self.vocab_size):
            if library.llama_vocab_get_attr(self._vocabulary, token) & marks:
                yield token, self.token_bytes(token).decode(errors="replace")
