"""A request that is not served, and what a client is told of it.

Knows: HTTP statuses and the sentence for a person. Does not know: the APIs' own forms of an error (``openai_reply``,
``ollama_reply``), or who refuses.
"""

from __future__ import annotations

import math

from models.errors import UsageError

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TIMED_OUT = 400, 401, 403, 404, 408
TOO_LARGE, FAILED, UNAVAILABLE = 413, 500, 503


class Refusal(UsageError):
    """``status`` is HTTP's, ``code`` a word for programs, ``field`` the request's field that is at fault.

    ``retry_after_s`` and ``possible_s``, of a full or too slow device: when to ask again, and the shortest deadline
    that would be kept if it were asked for now; both in seconds. ``methods``, of a path that knows no such method, are
    those that it knows, as HTTP lists them.
    """

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        possible_s: float | None = None,
        methods: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.field = field
        self.retry_after_s = retry_after_s
        self.possible_s = possible_s
        self.methods = methods

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the status; Retry-After is in whole seconds."""
        found = {} if self.methods is None else {"Allow": self.methods}
        if self.retry_after_s is not None:
            found["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        return found


def bad_request(sentence: str, field: str | None = None) -> Refusal:
    """A request that cannot be honoured as it stands."""
    return Refusal(BAD_REQUEST, "invalid_request", sentence, field=field)
