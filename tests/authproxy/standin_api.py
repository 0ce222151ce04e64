"""An API that answers reviews from a table, and can go away; and the kubeconfig that reaches it."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class StandInApi:
    """*users*: whose a token is. *allowed*: who may. Both may be changed while it runs."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self.allowed: set[str] = set()
        self.asked: list[dict[str, Any]] = []
        self.refuses_the_proxy = False
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                status = 403 if api.refuses_the_proxy else 201
                body = json.dumps(api.answer(json.loads(raw))).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, review: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(review)
        spec = review["spec"]
        if review["kind"] == "TokenReview":
            name = self.users.get(spec["token"])
            if name is None:
                return {**review, "status": {"user": {}, "error": "invalid bearer token"}}
            user = {"username": name, "groups": ["system:authenticated", "testers"]}
            return {**review, "status": {"authenticated": True, "user": user}}
        return {**review, "status": {"allowed": spec["user"] in self.allowed}}

    def kubeconfig(self, file: Path) -> Path:
        entry = {"server": f"http://127.0.0.1:{self.port}"}
        config = {
            "clusters": [{"name": "c", "cluster": entry}],
            "users": [{"name": "u", "user": {"token": "of-the-pod"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file.write_text(json.dumps(config))
        return file


@contextlib.contextmanager
def standing_in() -> Iterator[StandInApi]:
    api = StandInApi()
    api.start()
    try:
        yield api
    finally:
        api.stop()
