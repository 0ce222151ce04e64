"""A platform with one Pod to look into, and kubectl in every version that this machine has."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform import eventually, running
from tests.programs import program

TABLE = """
images:
- match: [shell]
  keepCommand: true
"""
SERVER = """
import os, socketserver, threading

class Upper(socketserver.BaseRequestHandler):
    def handle(self):
        content = b"".join(iter(lambda: self.request.recv(65536), b""))
        self.request.sendall(content.upper())

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while content := self.request.recv(65536):
            self.request.sendall(content)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

threading.Thread(target=Server((os.environ["POD_IP"], 8081), Echo).serve_forever).start()
print("serving", flush=True)
Server((os.environ["POD_IP"], 8080), Upper).serve_forever()
"""
TICKS = "n=0; while :; do n=$((n+1)); echo tick $n; echo tock $n >&2; sleep 0.2; done"


def pod(name, *containers, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers), **spec},
    }


def container(name, *command, **fields):
    return {"name": name, "image": "shell", "command": list(command), **fields}


WEB = pod(
    "web",
    container(
        "main", sys.executable, "-u", "-c", SERVER,
        env=[{"name": "GREETING", "value": "hello"}, {"name": "WHERE", "value": "/data/sub"}],
        ports=[{"containerPort": 8080, "name": "http"}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    ),
    container("ticks", "/bin/sh", "-c", TICKS),
    volumes=[{"name": "data", "emptyDir": {}}],
)  # fmt: skip


def kubectls():
    """kubectl, and the versions that stand beside it."""
    directory = Path("/usr/lib/google-cloud-sdk/bin")
    versions = sorted(directory.glob("kubectl.1.[0-9]*"))
    return ["kubectl", *(str(path) for path in versions)]


@pytest.fixture(params=kubectls(), ids=lambda name: Path(name).name)
def any_kubectl(request):
    """The path of a kubectl, each in turn."""
    return request.param if "/" in request.param else program(request.param)


@pytest.fixture(scope="session")
def platform(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("streams") / "data"
    data_dir.mkdir()
    (data_dir / "local-images.yaml").write_text(TABLE)
    with running(data_dir) as platform:
        apply(platform, WEB)
        platform.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
        yield platform


def apply(platform, *objects):
    manifest = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    done = kubectl(platform, "apply", "-f", "-", stdin=json.dumps(manifest).encode())
    assert done.returncode == 0, done.stderr


def kubectl(platform, *arguments, binary="kubectl", stdin=b"", timeout_s=60):
    """The finished process, its streams as bytes."""
    return subprocess.run(
        [shutil.which(binary) or binary, *arguments],
        input=stdin, capture_output=True, env=platform.environment, timeout=timeout_s, check=False,
    )  # fmt: skip


def phase(platform, name):
    done = kubectl(platform, "get", "pod", name, "-o", "jsonpath={.status.phase}")
    return done.stdout.decode()


def gone(pid):
    """Whether a process ends soon."""
    return eventually(lambda: not os.path.exists(f"/proc/{pid}"), what=f"process {pid} ended")  # noqa: PTH110
