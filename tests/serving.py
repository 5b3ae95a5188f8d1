"""A real HTTP server on this machine: it continues downloads, and misbehaves when told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server:
    """Serves the files of a folder.

    Attributes:
        folder: what is served; the path of an address is relative to it.
        requests: path and Range header (None without) of each request so far.
        break_after: by path, the bytes after which a connection breaks, once for each entry.
        stall_at: by path, the byte at which the server falls silent.
        answers: by path, a status to answer with instead.
        pages: paths that are answered with a web page.
        ranges: whether a download can be continued.
        lengths: whether answers say how long they are.
        shift: bytes by which the answer to a Range is off.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.break_after: dict[str, list[int]] = {}
        self.stall_at: dict[str, int] = {}
        self.answers: dict[str, int] = {}
        self.pages: set[str] = set()
        self.ranges = True
        self.lengths = True
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
            path = self.path.lstrip("/")
            asked = self.headers.get("Range")
            server.requests.append((path, asked))
            file = server.folder / path
            if path in server.pages:
                self._page()
            elif path in server.answers or not file.is_file():
                self.send_error(server.answers.get(path, 404))
            else:
                self._send(path, file.read_bytes(), asked)

        def _page(self) -> None:
            content = b"<html><body>Please log in</body></html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _send(self, path: str, content: bytes, asked: str | None) -> None:
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            start = start + server.shift if start and server.ranges else 0
            if start and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if server.lengths:
                self.send_header("Content-Length", str(len(content) - start))
            if start:
                span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", span)
            self.end_headers()
            end = server.break_after.get(path, [])[:1]
            if end:
                server.break_after[path].pop(0)
            self._write(content[start : end[0] if end else None], server.stall_at.get(path))
            if end:
                self.close_connection = True

        def _write(self, content: bytes, stall_at: int | None) -> None:
            self.wfile.write(content[:stall_at])
            self.wfile.flush()
            if stall_at is not None:
                server.stopping.wait(30)

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that went away
                super().handle()

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return Handler
