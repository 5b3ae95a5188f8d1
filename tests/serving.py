"""A real HTTP server on this machine: it continues downloads, and misbehaves when told to."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

BLOCK_BYTES = 2**16


class Server:
    """Serves the files of a folder.

    Attributes:
        folder: what is served; the path of an address is relative to it.
        requests: path and Range header (None without) of each request so far.
        break_after: by path, the bytes after which a connection breaks, once for each entry.
        break_every: by path, the bytes that each connection brings before it breaks.
        stall_at: by path, the byte at which the server falls silent.
        answers: by path, a status to answer with instead.
        refusals: by path, statuses to answer with first, one a request.
        retry_after: header of these refusals.
        changes: by path, contents that replace the file after a request, one each.
        pages: paths that are answered with a web page.
        page: the web page.
        page_type: its content type.
        redirects: by path, the address that it leads to; its own answer never ends.
        endless: paths whose content never ends.
        pause_s: seconds between two blocks.
        block_bytes: sent at once.
        slow_heads: paths for which the answer's headers never end.
        ranges: whether a download can be continued.
        lengths: whether answers say how long they are.
        etags: whether answers say which version of the file they are of.
        heeds_if_range: whether another version is sent whole, as it has to be.
        shift: bytes by which the answer to a Range is off.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.break_after: dict[str, list[int]] = {}
        self.break_every: dict[str, int] = {}
        self.stall_at: dict[str, int] = {}
        self.answers: dict[str, int] = {}
        self.refusals: dict[str, list[int]] = {}
        self.retry_after: str | None = None
        self.changes: dict[str, list[bytes]] = {}
        self.pages: set[str] = set()
        self.page = b"<html><body>Please log in</body></html>"
        self.page_type = "text/html; charset=utf-8"
        self.redirects: dict[str, str] = {}
        self.endless: set[str] = set()
        self.pause_s = 0.0
        self.block_bytes = BLOCK_BYTES
        self.slow_heads: set[str] = set()
        self.ranges = True
        self.lengths = True
        self.etags = True
        self.heeds_if_range = True
        self.shift = 0
        self.stopping = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    def url(self, path: str) -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/{path}"

    def asked(self, path: str) -> list[str | None]:
        """Return the Range headers of all requests for a file."""
        return [asked_range for asked, asked_range in self.requests if asked == path]


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Serve a folder while the block runs."""
    server = Server(folder)
    thread = threading.Thread(target=server.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.server.shutdown()
        server.server.server_close()
        thread.join()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path.lstrip("/"))
            server.requests.append((path, self.headers.get("Range")))
            file = server.folder / path
            if path in server.slow_heads:
                self._head_without_end()
            elif path in server.redirects or path in server.endless:
                self._answer_without_end(server.redirects.get(path))
            elif path in server.pages:
                self._page()
            elif server.refusals.get(path):
                self._refuse(server.refusals[path].pop(0))
            elif path in server.answers or not file.is_file():
                self.send_error(server.answers.get(path, 404))
            else:
                self._send(path, file.read_bytes())
            if server.changes.get(path):
                file.write_bytes(server.changes[path].pop(0))

        def _head_without_end(self) -> None:
            while not server.stopping.wait(0.05):
                self.wfile.write(b"H")

        def _answer_without_end(self, location: str | None) -> None:
            self.send_response(302 if location else 200)
            if location:
                self.send_header("Location", location)
            self.end_headers()
            while not server.stopping.is_set():
                self.wfile.write(bytes(2**20))

        def _page(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", server.page_type)
            self.send_header("Content-Length", str(len(server.page)))
            self.end_headers()
            self.wfile.write(server.page)

        def _refuse(self, status: int) -> None:
            self.send_response(status)
            if server.retry_after is not None:
                self.send_header("Retry-After", server.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, path: str, content: bytes) -> None:
            version = f'"{hashlib.sha256(content).hexdigest()}"'
            asked = self.headers.get("Range")
            outdated = self.headers.get("If-Range", version) != version
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if not server.ranges or (outdated and server.heeds_if_range):
                start = 0
            start = start + server.shift if start else 0
            whole = start and start >= len(content)
            self.send_response(416 if whole else 206 if start else 200)
            if server.etags:
                self.send_header("ETag", version)
            if server.lengths or whole:
                self.send_header("Content-Length", str(max(0, len(content) - start)))
            if start:
                span = "*" if whole else f"{start}-{len(content) - 1}"
                self.send_header("Content-Range", f"bytes {span}/{len(content)}")
            self.end_headers()
            end = server.break_after.get(path, [])[:1]
            if end:
                server.break_after[path].pop(0)
            if path in server.break_every:
                end = [start + server.break_every[path]]
            self._write(content[start : end[0] if end else None], server.stall_at.get(path))
            if end:
                self.close_connection = True

        def _write(self, content: bytes, stall_at: int | None) -> None:
            sent = content[:stall_at]
            for place in range(0, len(sent), server.block_bytes):
                self.wfile.write(sent[place : place + server.block_bytes])
                self.wfile.flush()
                if server.pause_s:
                    time.sleep(server.pause_s)
            if stall_at is not None:
                server.stopping.wait(30)

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that went away
                super().handle()

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return Handler
