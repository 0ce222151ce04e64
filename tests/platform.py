"""A running Motorpool for end-to-end tests: the real program, in a directory of its own.

Whatever a test starts here ends with it: `Platform.stop` runs `motorpool down`, and then looks.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.programs import program

MOTORPOOL = [sys.executable, "-m", "motorpool"]
SERVE_DEADLINE_S = 60


def eventually(
    condition: Callable[[], Any], *, deadline_s: float = 60, what: str = "", poll_s: float = 0.05
) -> Any:
    """The first true value of *condition*; fails the test after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what or condition}; last: {value!r}")
        time.sleep(poll_s)


class Platform:
    def __init__(
        self, data_dir: Path, *options: str, environment: dict[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir
        self._environment = environment or {}
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.endpoints: dict[str, Any] = {}

    @property
    def environment(self) -> dict[str, str]:
        source = str(Path(__file__).parents[1] / "src")
        inherited = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "HOME")}
        path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        home = self.data_dir.with_name(self.data_dir.name + "-home")
        home.mkdir(exist_ok=True)
        return inherited | {
            "PYTHONPATH": path,
            "HOME": str(home),
            "KUBECONFIG": str(self.data_dir / "kubeconfig"),
            "MOTORPOOL_DATA_DIR": str(self.data_dir),
            **self._environment,
        }

    def start(self, poll_s: float = 0.05) -> None:
        """Starts `motorpool up` and returns once it serves."""
        written = self.data_dir / "run" / "endpoints.json"
        log = self.data_dir.with_name(self.data_dir.name + ".log").open("ab")
        ports = ["--api-port", "0", "--http-port", "0", "--https-port", "0"]
        # Podman is for the tests that ask for it, wherever it may be installed.
        engine = [] if "--engine" in self.options else ["--engine", "process"]
        self.process = subprocess.Popen(
            [*MOTORPOOL, "up", "--data-dir", str(self.data_dir), *ports, *engine, *self.options],
            stdout=log,
            stderr=log,
            env=self.environment,
        )
        log.close()
        pid = self.process.pid

        def serves() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"up exited with {self.process.returncode}\n{self.log()}")
            with contextlib.suppress(FileNotFoundError):
                self.endpoints = json.loads(written.read_text())
                return bool(self.endpoints["pid"] == pid)
            return False

        what = "endpoints.json of this process"
        eventually(serves, deadline_s=SERVE_DEADLINE_S, what=what, poll_s=poll_s)

    def log(self) -> str:
        return self.data_dir.with_name(self.data_dir.name + ".log").read_text(errors="replace")

    def kill(self) -> None:
        """kill -9 of the control plane alone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def data_plane(self) -> set[int]:
        """What must outlive `up`: Envoy, the pod supervisor, and everything below them."""
        assert self.process is not None
        named = {
            int(line.split()[0])
            for line in processes()
            if str(self.data_dir) in line and "motorpool up" not in line
        }
        return named.union(*map(descendants, named))

    def model_servers(self) -> set[int]:
        """The processes of the pods; each bears its own title or command line."""
        found = {
            int(line.split()[0])
            for line in processes()
            if "motorpool.node.supervisor" in line and str(self.data_dir) in line
        }
        return set().union(*map(descendants, found)) - found

    def stop(self) -> None:
        down = self.run("down", "--data-dir", str(self.data_dir))
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        left = [line for line in processes() if str(self.data_dir) in line]
        assert down.returncode == 0, down.stderr
        assert not left, left

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """A verb of motorpool, to its end."""
        return subprocess.run(
            [*MOTORPOOL, *words],
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
            **options,
        )

    def kubectl(self, *words: str, check: bool = True, stdin: str | None = None) -> str:
        """What kubectl prints. With *check* its exit code is 0; without, stderr comes along."""
        done = subprocess.run(
            [program("kubectl"), *words],
            env=self.environment,
            text=True,
            capture_output=True,
            input=stdin,
            timeout=120,
            check=False,
        )
        if not check:
            return done.stdout + done.stderr
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def kubectl_json(self, *words: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.kubectl(*words, "-o", "json"))
        return loaded

    def curl(self, url: str, *words: str) -> str:
        """curl to a host of a Route, connected to this platform's router."""
        port = self.endpoints["http"].rsplit(":", 1)[1]
        done = subprocess.run(
            [
                program("curl"),
                "-sS",
                "--max-time",
                "30",
                *words,
                url,
                "--connect-to",
                f"::127.0.0.1:{port}",
            ],
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def processes() -> list[str]:
    """One line, pid and command line, for each living process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(f"{entry.name} {words}")
    return found


def descendants(pid: int) -> set[int]:
    """The living processes below one, however deep."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat[stat.rindex(")") + 2 :].split()[1])
    found: set[int] = set()
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found |= frontier
    return found


@contextlib.contextmanager
def running(data_dir: Path, *options: str) -> Iterator[Platform]:
    platform = Platform(data_dir, *options)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()
