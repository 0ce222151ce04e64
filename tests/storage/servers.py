"""Real servers to download from, on loopback: a web server with faults, and moto's S3."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LAST_MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"


@dataclass
class Web:
    """What a web server gives, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    token: str = ""  # what Authorization must be
    ranges: bool = True
    cut_after: int = 0  # each body ends early, after so many bytes
    cuts: int = 0  # how many bodies are cut; -1 for all
    failures: int = 0  # how many requests answer 503 first
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, range
    authorizations: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, *_: Any) -> None:
        return

    def do_GET(self) -> None:
        web = self.web
        path = self.path.partition("?")[0]
        asked = self.headers.get("range", "")
        web.asked.append((path, asked))
        web.authorizations.append(self.headers.get("authorization", ""))
        if web.failures:
            web.failures -= 1
            self.answer(503)
        elif web.token and self.headers.get("authorization") != web.token:
            self.answer(401)
        elif path in web.redirects:
            self.answer(302, {"location": web.redirects[path]})
        elif path not in web.files:
            self.answer(404)
        else:
            self.send_file(path, asked)

    def send_file(self, path: str, asked: str) -> None:
        web = self.web
        content = web.files[path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {
            "etag": tag, "last-modified": LAST_MODIFIED,
            "content-type": web.types.get(path, "application/octet-stream"),
            **web.headers.get(path, {}),
        }  # fmt: skip
        code, body = 200, content
        if asked and web.ranges and self.headers.get("if-range", tag) == tag:
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(begin), int(end or len(content) - 1)
            if first >= len(content):
                self.answer(416)
                return
            code, body = 206, content[first : last + 1]
            headers["content-range"] = f"bytes {first}-{first + len(body) - 1}/{len(content)}"
        self.answer(code, headers, body)

    def answer(self, code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.web.cuts and len(body) > 1:
            self.web.cuts -= 1
            self.wfile.write(body[: self.web.cut_after])
            self.close_connection = True
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)


@contextlib.contextmanager
def web_server() -> Iterator[Web]:
    web = Web()
    handler = type("Handler", (_Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def s3_server(certificate: str = "", key: str = "") -> Iterator[str]:
    """moto's S3 as a process of its own, over TLS with a certificate; gives its endpoint."""
    import ssl
    import subprocess
    import sys
    import time
    import urllib.request

    from tests.ports import free_port

    port = free_port()
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "moto.server",
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    if certificate:
        command += ["--ssl", "--ssl-cert", certificate, "--ssl-key", key]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"https://localhost:{port}" if certificate else f"http://127.0.0.1:{port}"
        unchecked = ssl._create_unverified_context() if certificate else None
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{url}/moto-api/", timeout=5, context=unchecked).close()
                break
            except OSError:
                assert process.poll() is None, "moto's server ended"
                assert time.monotonic() < deadline, "moto's server does not answer"
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)
