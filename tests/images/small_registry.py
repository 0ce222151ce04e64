"""A small registry that can lie, break off and ask for passwords: what a real one cannot."""

import base64
import gzip
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from motorpool.images.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, digest_of

GZIP = f"{OCI_LAYER}+gzip"


def tar(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """A tar of (path, content) pairs and of whatever a TarInfo says."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return raw.getvalue()


def special(path: str, kind: bytes, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


@dataclass
class SmallRegistry:
    host: str = ""
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # version -> type, bytes
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)  # "GET /v2/... RANGE"
    # Faults, each for the digest that it names.
    break_off: dict[str, list[int]] = field(default_factory=dict)  # after so many bytes, in turn
    unavailable: dict[str, int] = field(default_factory=dict)  # 503 so many times
    gates: dict[str, threading.Event] = field(default_factory=dict)  # half, then wait for it
    ignores_range: bool = False
    redirects: dict[str, str] = field(default_factory=dict)  # digest -> where it is said to be
    authorizations: set[str | None] = field(default_factory=set)  # all that were sent
    # Logging in.
    password: str = ""
    scheme: str = "Bearer"

    def add(self, version: str, *layers: bytes, media_type: str = OCI_LAYER) -> str:
        """An image with these layers; its digest."""
        plain = [gzip.decompress(one) if media_type == GZIP else one for one in layers]
        config = json.dumps(
            {"rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in plain]}}
        ).encode()
        for blob in (config, *layers):
            self.blobs[digest_of(blob)] = blob
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, config),
            "layers": [descriptor(media_type, layer) for layer in layers],
        }
        return self.add_manifest(version, manifest)

    def add_manifest(self, version: str, manifest: dict[str, Any]) -> str:
        raw = json.dumps(manifest).encode()
        for name in (version, digest_of(raw)):
            self.manifests[name] = (manifest.get("mediaType", ""), raw)
        return digest_of(raw)

    def asked(self, digest: str) -> list[str]:
        return [line for line in self.requests if digest in line]


def descriptor(media_type: str, raw: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(raw), "size": len(raw)}


@contextmanager
def small_registry() -> Iterator[SmallRegistry]:
    state = SmallRegistry()
    server = _Server(state)
    state.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        for gate in state.gates.values():
            gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    @property
    def state(self) -> SmallRegistry:
        return self.server.state

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.state.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}")
        self.state.authorizations.add(self.headers.get("Authorization"))
        if self.path.startswith("/token"):
            self._token()
        elif not self._may_enter():
            self._challenge()
        elif "/manifests/" in self.path:
            self._manifest(self.path.rpartition("/")[2])
        else:
            self._blob(self.path.rpartition("/")[2])

    def _may_enter(self) -> bool:
        if not self.state.password:
            return True
        basic = "Basic " + base64.b64encode(f"me:{self.state.password}".encode()).decode()
        wanted = basic if self.state.scheme == "Basic" else "Bearer the-token"
        return self.headers.get("Authorization") == wanted

    def _challenge(self) -> None:
        realm = f'realm="http://{self.state.host}/token",service="small"'
        self._send(401, b"", {"WWW-Authenticate": f"{self.state.scheme} {realm}"})

    def _token(self) -> None:
        basic = "Basic " + base64.b64encode(f"me:{self.state.password}".encode()).decode()
        if self.headers.get("Authorization") != basic:
            self._send(401, b"")
        else:
            self._send(200, json.dumps({"token": "the-token"}).encode())

    def _manifest(self, version: str) -> None:
        if version not in self.state.manifests:
            self._send(404, b"{}")
            return
        media_type, raw = self.state.manifests[version]
        self._send(200, raw, {"Content-Type": media_type})

    def _blob(self, digest: str) -> None:
        raw = self.state.blobs.get(digest)
        if digest in self.state.redirects:
            self._send(307, b"", {"Location": self.state.redirects[digest]})
            return
        if raw is None:
            self._send(404, b"{}")
            return
        if self.state.unavailable.get(digest, 0) > 0:
            self.state.unavailable[digest] -= 1
            self._send(503, b"")
            return
        asked = self.headers.get("Range")
        start = (
            int(asked.split("=")[1].rstrip("-")) if asked and not self.state.ignores_range else 0
        )
        part = raw[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(raw) - 1}/{len(raw)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.state.break_off.get(digest):
            self.wfile.write(part[: self.state.break_off[digest].pop(0)])
            self.close_connection = True
            return
        if digest in self.state.gates:
            self.wfile.write(part[: len(part) // 2])
            self.state.gates[digest].wait(30)
            part = part[len(part) // 2 :]
        try:
            self.wfile.write(part)
        except OSError:
            self.close_connection = True

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, state: SmallRegistry) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.state = state

    def handle_error(self, *_: object) -> None:
        """A client that went away is what some tests are about."""
