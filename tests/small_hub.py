"""A hub on this machine: the few requests that huggingface_hub makes, answered from files in memory.

Knows: listings, heads, ranges, gated and missing repositories, a connection that breaks. Does not know: our client.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = sha1(b"the only commit").hexdigest()


@dataclass
class Hub:
    """``files`` of each repository; ``requests`` are (method, path, Range header) in order."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    breaks: dict[str, list[int]] = field(default_factory=dict)  # by file: after how many bytes, time after time
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    claimed_bytes: int | None = None  # what the listing says of each file, instead of the truth

    def add_folder(self, repository: str, folder: Path) -> None:
        """Serve every file of ``folder``."""
        self.repositories[repository] = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fetched(self) -> list[str]:
        """The names of the files whose bytes were asked for, in order."""
        return [
            path.split("/resolve/")[1].split("/", 1)[1]
            for method, path, _ in self.requests
            if method == "GET" and "/resolve/" in path
        ]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read the list of requests instead."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        words = path.strip("/").split("/")
        is_listing = words[:2] == ["api", "models"]
        repository = "/".join(words[2:4] if is_listing else words[:2])
        if repository in self.hub.gated and not is_listing:
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        if repository not in self.hub.repositories:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        files = self.hub.repositories[repository]
        if is_listing:
            return self._send(200, json.dumps(self._listing(repository, files, "tree" in words)).encode())
        return self._send_file(files, "/".join(words[4:]))

    def _listing(self, repository: str, files: dict[str, bytes], is_tree: bool) -> Any:
        sizes = {name: self.hub.claimed_bytes or len(data) for name, data in files.items()}
        if is_tree:
            return [
                {"type": "file", "path": name, "size": size, "oid": sha1(files[name]).hexdigest()}
                for name, size in sizes.items()
            ]
        siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
        return {"_id": "0", "id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings}

    def _send_file(self, files: dict[str, bytes], name: str) -> None:
        if name not in files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        data = files[name]
        headers = {"ETag": f'"{sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        breaks = self.hub.breaks.get(name) if self.command == "GET" else None
        stops_after = breaks.pop(0) if breaks else None
        if asked := self.headers.get("Range"):
            first = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[first:], headers, stops_after)
        return self._send(200, data, headers, stops_after)

    def _send(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, stops_after: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:stops_after])
        if stops_after is not None:
            self.close_connection = True


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A running hub."""
    hub = Hub()
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
