"""Who may come in: API keys, browsers' origins, names this machine is called by.

Knows: headers of a request. Does not know: what is behind the door. Keys are kept as their SHA-256 only, and compared
in constant time.

Without a key the server listens on this machine only, and a web page must not use a visitor's browser to reach it: so
the Host header has to name this machine, and an Origin header has to be the server's own or one that was allowed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address

from edge.server.refusal import FORBIDDEN, UNAUTHORIZED, Refusal
from models.errors import UsageError

HASHED = "sha256:"
HASH_DIGITS = 64


class Door:
    """``keys`` as given, hashed or not; ``is_local``: only this machine may be meant by the Host header."""

    def __init__(self, keys: Iterable[str], origins: Iterable[str], *, is_local: bool) -> None:
        self._hashes = tuple(_hash_of(key) for key in keys)
        self._origins = frozenset(origins)
        self._is_local = is_local

    @property
    def needs_key(self) -> bool:
        """Whether a key has to be sent."""
        return bool(self._hashes)

    def check(self, headers: Mapping[str, str], *, needs_key: bool = True) -> None:
        """Raises Refusal for a request that may not come in; ``headers`` by their lower-case names.

        ``needs_key`` is False for what everybody may see who can reach the server.
        """
        host = headers.get("host", "")
        if self._is_local and not self._hashes and host and not is_this_machine(host_name(host)):
            raise Refusal(FORBIDDEN, "wrong_host", "The Host header does not name this machine; ask it as localhost.")
        origin = headers.get("origin")
        if origin is not None and not self.allows_origin(origin) and origin.partition("://")[2] != host:
            raise Refusal(
                FORBIDDEN, "wrong_origin", "A page of another origin may not ask here; name it with --cors-origin."
            )
        if needs_key and self._hashes and not self._knows(headers.get("authorization", "")):
            raise Refusal(
                UNAUTHORIZED, "wrong_api_key", "The API key is missing or wrong; send Authorization: Bearer KEY."
            )

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of ``origin`` may ask."""
        return origin in self._origins

    def _knows(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        given = hashlib.sha256(key.strip().encode("utf-8", "replace")).digest()
        is_known = False
        for kept in self._hashes:  # all of them, so that the time does not tell which
            is_known |= hmac.compare_digest(given, kept)
        return is_known and scheme.lower() == "bearer"


@lru_cache(maxsize=64)
def is_this_machine(name: str) -> bool:
    """Whether a host's name or address can only mean the machine that uses it."""
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name.lower() == "localhost" or name.lower().endswith(".localhost")


def host_name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def check_safe(host: str, keys: Iterable[str], *, insecure: bool) -> None:
    """Raises UsageError for an address that others can reach, without a key."""
    if not is_this_machine(host) and not tuple(keys) and not insecure:
        raise UsageError(
            f"{host} can be reached from other machines; add --api-key KEY, or --insecure where everybody may ask."
        )


def _hash_of(key: str) -> bytes:
    if not key.startswith(HASHED):
        return hashlib.sha256(key.encode("utf-8", "replace")).digest()
    digits = key.removeprefix(HASHED)
    try:
        digest = bytes.fromhex(digits)
    except ValueError:
        digest = b""
    if len(digest) * 2 != HASH_DIGITS:
        raise UsageError(f"An API key begins with {HASHED} and no {HASH_DIGITS} hexadecimal digits follow; correct it.")
    return digest
