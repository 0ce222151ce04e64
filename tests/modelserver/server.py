"""A real model server in a process of its own, and requests to it."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import free_port as free_port

DEADLINE_S = 60
SOURCE = Path(__file__).parents[2] / "src"


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(SOURCE)}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert list(self.json) == ["error"]
        return self.json["error"]


@dataclass
class Server:
    process: subprocess.Popen[str]
    port: int
    log: Path
    address: str = "127.0.0.1"
    name: str = "m"
    connections: list[http.client.HTTPConnection] = field(default_factory=list)

    def call(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            lower = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lower, response.read())

    def get(self, path: str) -> Answer:
        return self.call("GET", path)

    def infer(self, document: object, blob: bytes = b"", **headers: str) -> Answer:
        text = json.dumps(document).encode()
        if blob:
            headers["Inference_Header_Content_Length"] = str(len(text))
        return self.call("POST", f"/v2/models/{self.name}/infer", text + blob, **headers)

    def metric(self, series: str) -> float:
        lines = self.get("/metrics").body.decode().splitlines()
        found = [line for line in lines if line.startswith(f"{series} ")]
        assert len(found) == 1, series
        return float(found[0].rpartition(" ")[2])

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError):
                return self.get("/v2/health/ready").status == 200
            return False

        wait_until(ready)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@contextlib.contextmanager
def started(
    model: Path,
    *flags: str,
    log: Path,
    ready: bool = True,
    program: tuple[str, str] = ("-m", "motorpool.modelserver"),
) -> Iterator[Server]:
    port = free_port()
    command = [
        sys.executable,
        *program,
        "--model_name=m",
        f"--model_path={model}",
        f"--rest_port={port}",
        "--rest_bind_address=127.0.0.1",
        "--metrics_enable",
        *flags,
    ]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, env=environment(), text=True)
    server = Server(process, port, log)
    try:
        if ready:
            server.wait_until_ready()
        yield server
    finally:
        process.kill()
        process.wait()


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    """The program, where it is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "motorpool.modelserver", *flags],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(),
    )
