"""Motorpool with real containers: podman with a storage of its own, two registries, one platform.

Everything podman keeps is in a directory of the tests; images are made from scratch, of Debian's
static busybox. One registry is open, the other wants a name and a password.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.platform import Platform, eventually, running
from tests.podman.boxes import build, own_storage, podman
from tests.programs import program
from tests.registry import RunningRegistry, running_registry

USER, PASSWORD = "me", "secret"
DEADLINE_S = 60


@dataclass(frozen=True)
class World:
    """What a test may name in a manifest."""

    image: str  # in the open registry
    private: str
    private_host: str
    local: str  # known to podman alone


@pytest.fixture(scope="package")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    directory = tmp_path_factory.mktemp("private")
    made = subprocess.run(
        [program("htpasswd"), "-Bbn", USER, PASSWORD], text=True, capture_output=True, check=True
    )
    (directory / "htpasswd").write_text(made.stdout)
    auth = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
    with running_registry(directory, auth=auth) as running:
        yield running


@pytest.fixture(scope="package")
def storage() -> Iterator[None]:
    with own_storage():
        yield


@pytest.fixture(scope="package")
def world(
    storage: None,
    tmp_path_factory: pytest.TempPathFactory,
    registry: RunningRegistry,
    private_registry: RunningRegistry,
) -> World:
    local = build(tmp_path_factory.mktemp("image"))
    image = f"{registry.host}/tests/box:1"
    private = f"{private_registry.host}/tests/box:1"
    podman("push", "-q", "--tls-verify=false", local, image)
    podman("push", "-q", "--tls-verify=false", f"--creds={USER}:{PASSWORD}", local, private)
    return World(image, private, private_registry.host, local)


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory, world: World) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("containers") / "data", "--engine", "auto") as platform:
        yield platform
    left = podman("ps", "-a", "--format", "{{.Names}}")
    assert not left.strip(), left


def box(world: World, script: str = "", name: str = "main", **fields: object) -> dict:
    command = {"command": ["/bin/sh", "-c", script]} if script else {}
    return {"name": name, "image": world.image, **command, **fields}


def pod(name: str, *containers: dict, **spec: object) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers), **spec},
    }


def apply(platform: Platform, *objects: dict) -> None:
    content = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(content))


def wait(platform: Platform, name: str, condition: str = "condition=Ready") -> None:
    platform.kubectl("wait", f"pod/{name}", f"--for={condition}", f"--timeout={DEADLINE_S}s")


def status(platform: Platform, name: str, container: int = 0) -> dict:
    found = platform.kubectl_json("get", "pod", name)["status"].get("containerStatuses") or [{}]
    return found[container]


def terminated(platform: Platform, name: str) -> dict:
    """How its container has ended, once it has."""

    def ended() -> dict | None:
        return status(platform, name).get("state", {}).get("terminated")

    found: dict = eventually(ended, deadline_s=DEADLINE_S)
    return found


def events(platform: Platform, name: str) -> list[str]:
    found = platform.kubectl_json(
        "get", "events", "--field-selector", f"involvedObject.name={name}"
    )["items"]
    return [f"{event['reason']}: {event['message']}" for event in found]
