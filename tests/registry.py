"""Debian's docker-registry on a free loopback port, for tests.

In a conftest.py or a test module: ``from tests.registry import registry`` makes the fixture known.
"""

import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.ports import free_port
from tests.programs import program

START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class RunningRegistry:
    host: str  # 127.0.0.1:PORT, as it stands in a reference
    storage: Path


@contextmanager
def running_registry(
    directory: Path, auth: dict[str, object] | None = None, tls: dict[str, str] | None = None
) -> Iterator[RunningRegistry]:
    """*auth* and *tls* as in the registry's own configuration."""
    path = program("docker-registry")
    host = f"127.0.0.1:{free_port()}"
    configuration = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "storage")},
            "delete": {"enabled": True},
        },
        "http": {"addr": host, **({"tls": tls} if tls else {})},
        **({"auth": auth} if auth else {}),
    }
    file = directory / "registry.yaml"
    file.write_text(yaml.safe_dump(configuration))
    with (directory / "registry.log").open("wb") as log:
        # It takes every $REGISTRY_... for a setting of its own: $REGISTRY_AUTH_FILE stops it.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")}
        process = subprocess.Popen(
            [path, "serve", str(file)], stdout=log, stderr=log, env=environment
        )
    try:
        scheme = "https" if tls else "http"
        _wait_until_it_answers(scheme, host, process, directory / "registry.log")
        yield RunningRegistry(host, directory / "storage")
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def _wait_until_it_answers(
    scheme: str, host: str, process: "subprocess.Popen[bytes]", log: Path
) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(f"{scheme}://{host}/v2/", timeout=1):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 401:
                return
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                return  # it serves; whom it convinces is for the test to say
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"docker-registry does not serve: {log.read_text()}")
        time.sleep(0.02)
