"""The program itself, in a process of its own, with its real engine and a tiny checkpoint."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.modelserver.server import environment, free_port

DEADLINE_S = 60


@dataclass
class Program:
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    checkpoint: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def engine_pid(self) -> int:
        """Its only child."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        (pid,) = children.split()
        return int(pid)

    def status(self, path: str = "/health") -> int | None:
        """None where nothing listens."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while self.status() != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


@contextlib.contextmanager
def started(checkpoint: Path, *words: str, log: Path, ready: bool = True) -> Iterator[Program]:
    port = free_port()
    command = [sys.executable, "-m", "motorpool.modelserver.llm", f"--model={checkpoint}"]
    command += ["--host=127.0.0.1", f"--port={port}", *words]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment() | _quiet())
    program = Program(process, port, log, checkpoint)
    try:
        if ready:
            program.wait_until_ready()
        yield program
    finally:
        process.kill()
        process.wait()


def _quiet() -> dict[str, str]:
    # Nothing of the developer's own settings.
    return {name: "" for name in os.environ if name.startswith(("VLLM_", "MOTORPOOL_"))}
