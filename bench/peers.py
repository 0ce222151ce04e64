"""What the model server is measured against, each in a virtual environment of its own.

They are installed from the package index once, under `$XDG_CACHE_HOME/motorpool-bench`; one that
cannot be installed is left out, and said so.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.load import once

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "motorpool-bench")
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
KSERVE = ("kserve", "scikit-learn", "openvino")
MLSERVER = ("mlserver", "mlserver-sklearn")
PEER_KSERVE = Path(__file__).with_name("peer_kserve.py")


@dataclass
class Server:
    name: str
    port: int
    pid: int


def installed(name: str, packages: tuple[str, ...]) -> Path | None:
    """The directory of its programs."""
    directory, done = CACHE / name, CACHE / name / "installed"
    if not done.exists():
        venv.create(directory, with_pip=True)
        pip = [str(directory / "bin/python"), "-m", "pip", "install", "-q", *packages]
        ended = subprocess.run(pip, capture_output=True, text=True, check=False)
        if ended.returncode:
            print(f"{name} cannot be installed: {ended.stderr.strip().splitlines()[-1]}")
            return None
        done.touch()
    return directory / "bin"


def ours(model: Path, port: int, *flags: str) -> list[str]:
    command = [sys.executable, "-m", "motorpool.modelserver", "--model_name=m", *flags]
    return [*command, f"--model_path={model}", f"--rest_port={port}", "--metrics_enable",
            "--rest_bind_address=127.0.0.1"]  # fmt: skip


def ours_with_grpc(rpc_port: int, model: Path, port: int) -> list[str]:
    return ours(
        model, port, "--allow_pickle", f"--port={rpc_port}", "--grpc_bind_address=127.0.0.1"
    )


def kserve(
    programs: Path, kind: str, model: Path, port: int, rpc_port: int | None = None
) -> list[str]:
    command = [str(programs / "python"), str(PEER_KSERVE), kind, str(model), str(port)]
    return command if rpc_port is None else [*command, str(rpc_port)]


def kserve_with_grpc(rpc_port: int, programs: Path, model: Path, port: int) -> list[str]:
    return kserve(programs, "sklearn", model, port, rpc_port)


def mlserver_with_grpc(rpc_port: int, programs: Path, model: Path, port: int) -> list[str]:
    return mlserver(programs, model, port, rpc_port)


def mlserver(programs: Path, model: Path, port: int, rpc_port: int | None = None) -> list[str]:
    """One model of scikit-learn, in the serving process itself.

    Its default, a worker process, did not start here: no current event loop, it said.
    """
    settings = {
        "name": "m",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(model / "model.joblib")},
    }
    directory = model.parent / "mlserver"
    directory.mkdir(exist_ok=True)
    (directory / "model-settings.json").write_text(json.dumps(settings))
    ports = {"http_port": port, "grpc_port": rpc_port or free_port(), "metrics_port": free_port()}
    (directory / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "parallel_workers": 0} | ports)
    )
    return [str(programs / "mlserver"), "start", str(directory)]


@contextlib.contextmanager
def running(name: str, command: list[str], port: int, request: bytes) -> Iterator[Server]:
    """The server, once it has answered *request*."""
    # Everyone with compiled bytecode, as pip installs it: a checkout may be told to write none.
    environment = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            once(port, request)
            yield Server(name, port, process.pid)
        except Exception:
            log.seek(0)
            print(f"{name}: {log.read()[-2000:].decode()}", file=sys.stderr)
            raise
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rss_mb(pid: int) -> float:
    """Of a process and its children."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(rss_mb(int(each)) for each in children)
