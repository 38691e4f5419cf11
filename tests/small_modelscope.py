"""A ModelScope on this machine: the few requests that modelscope_hub makes, answered from files in memory.

Knows: listings, whole files and ranges, missing and closed repositories, a connection that breaks. Does not know: our
client.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

API = "/api/v1/models/"


@dataclass
class ModelScope:
    """``files`` of each repository; ``requests`` are (file, Range header) in order, file None for a listing."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    breaks: dict[str, list[int]] = field(default_factory=dict)  # by file: after how many bytes, time after time
    requests: list[tuple[str | None, str | None]] = field(default_factory=list)

    def add_folder(self, repository: str, folder: Path) -> None:
        """Serve every file of ``folder``."""
        self.repositories[repository] = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fetched(self) -> list[str]:
        """The names of the files whose bytes were asked for, in order."""
        return [file for file, _ in self.requests if file is not None]


class _Handler(BaseHTTPRequestHandler):
    hub: ModelScope
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read the list of requests instead."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        words = url.path.removeprefix(API).split("/")
        repository = "/".join(words[:2])
        if not url.path.startswith(API):
            return self._send(200, b'{"Code": 200, "Success": true, "Data": {}}')
        if repository in self.hub.closed:
            return self._send(403, b'{"Code": 10010205003, "Success": false, "Message": "access denied"}')
        if repository not in self.hub.repositories:
            return self._send(404, b'{"Code": 10010205001, "Success": false, "Message": "not found"}')
        files = self.hub.repositories[repository]
        if words[2:] == ["repo", "files"]:
            self.hub.requests.append((None, None))
            return self._send(200, json.dumps({"Code": 200, "Success": True, "Data": _listing(files)}).encode())
        return self._send_file(files, parse_qs(url.query)["FilePath"][0])

    def _send_file(self, files: dict[str, bytes], name: str) -> None:
        asked = self.headers.get("Range")
        self.hub.requests.append((name, asked))
        breaks = self.hub.breaks.get(name)
        stops_after = breaks.pop(0) if breaks else None
        if asked is None:
            return self._send(200, files[name], stops_after=stops_after)
        first = int(asked.removeprefix("bytes=").split("-")[0])
        rest = files[name][first:]
        given = {"Content-Range": f"bytes {first}-{len(files[name]) - 1}/{len(files[name])}"}
        return self._send(206, rest, given, stops_after)

    def _send(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, stops_after: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:stops_after])
        if stops_after is not None:
            self.close_connection = True


def _listing(files: dict[str, bytes]) -> dict[str, Any]:
    return {
        "Files": [
            {"Path": name, "Name": name, "Type": "blob", "Size": len(data), "Sha256": sha256(data).hexdigest()}
            for name, data in files.items()
        ]
    }


@contextmanager
def serve_modelscope() -> Iterator[ModelScope]:
    """A running ModelScope."""
    hub = ModelScope()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
