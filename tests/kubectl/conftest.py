"""A platform for each module, and a shell in which `kubectl` is the kubectl under test."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.kubectl.transcript import Step, normal
from tests.platform import running
from tests.programs import program

MANIFESTS = Path(__file__).parent / "manifests"
COMMAND_TIME_MAX_S = 60

# A program that runs until it is told to stop stands in for an image.
LOCAL_IMAGES = """
images:
- match: ["sleeper:*"]
  command: ["{python}", "-c", "import time; time.sleep(3600)"]
  keepArgs: false
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    program("kubectl")
    data_dir = tmp_path_factory.mktemp("kubectl") / "data"
    data_dir.mkdir()
    (data_dir / "local-images.yaml").write_text(LOCAL_IMAGES)
    with running(data_dir) as platform:
        yield platform


class Shell:
    """Runs the commands of one scene in its namespace."""

    def __init__(self, platform, directory, namespace, kubectl):
        self._directory = directory / "here"
        shutil.copytree(MANIFESTS, self._directory)
        programs = directory / "bin"
        programs.mkdir()
        (programs / "kubectl").symlink_to(kubectl)
        (programs / "meanwhile").symlink_to(Path(__file__).with_name("meanwhile"))
        config = yaml.safe_load((platform.data_dir / "kubeconfig").read_text())
        config["contexts"][0]["context"]["namespace"] = namespace
        (directory / "kubeconfig").write_text(yaml.safe_dump(config))
        self._environment = {
            **platform.environment,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "KUBECONFIG": str(directory / "kubeconfig"),
            "TZ": "UTC",
            "TMPDIR": str(directory),  # kubectl leaves what an editor would not save
        }
        self._names = {
            str(platform.data_dir): "DATA",
            namespace: "HERE",
            socket.gethostname(): "MACHINE",
        }

    def run(self, command) -> Step:
        with subprocess.Popen(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child:
            try:
                printed, _ = child.communicate(timeout=COMMAND_TIME_MAX_S)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
        answer = normal(printed.decode(), self._names).rstrip("\n")
        return Step(command, answer, child.returncode)


@pytest.fixture
def shell(platform, tmp_path, request):
    """Makes a shell for the kubectl at a path, in a namespace that the test does not share."""
    namespaces = []

    def make(kubectl=None):
        words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
        namespace = f"in-{words}"[:50].strip("-") + "-here"
        platform.kubectl("create", "ns", namespace)
        namespaces.append(namespace)
        for made in ("cm/kube-root-ca.crt", "sa/default"):
            platform.kubectl("wait", "--for=create", made, "-n", namespace, "--timeout=60s")
        return Shell(platform, tmp_path, namespace, kubectl or program("kubectl"))

    yield make
    for namespace in namespaces:
        platform.kubectl("delete", "ns", namespace, "--wait=false")
