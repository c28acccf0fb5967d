"""An HTTP server on loopback that misbehaves as it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file, and how it is served. Each of `statuses` and `breaks` is used up by one request."""

    content: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    content_type: str = "application/gzip"
    statuses: list[int] = field(default_factory=list)
    """Answers before the file is given."""
    breaks: list[int] = field(default_factory=list)
    """Bytes after which the connection ends."""


@dataclass
class FileServer:
    """Files by path; `requests` is what was asked for: path, and the Range or None."""

    files: dict[str, Served]
    url: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """GET, as the file is set to be served."""
        wanted, part = handler.path, handler.headers["Range"]
        self.requests.append((wanted, part))
        served = self.files.get(wanted)
        status = 404 if served is None else served.statuses.pop(0) if served.statuses else 200
        if served is None or status != 200:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = 0
        if part and served.ranges and handler.headers["If-Range"] == served.etag:
            start = int(part.removeprefix("bytes=").removesuffix("-"))
            if start >= len(served.content):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(served.content)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
        else:
            handler.send_response(200)
        if served.etag:
            handler.send_header("ETag", served.etag)
        handler.send_header("Content-Type", served.content_type)
        handler.send_header("Content-Length", str(len(served.content) - start))
        handler.end_headers()
        rest = served.content[start:]
        handler.wfile.write(rest[: served.breaks.pop(0)] if served.breaks else rest)
        handler.close_connection = True


@contextmanager
def file_server() -> Iterator[FileServer]:
    """Serves on a free port until left."""
    server = FileServer({})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
