"""The images of containers: pulled, refused, private, built here."""

import base64
import json
import socket
import time

import pytest

from tests.platform import eventually
from tests.podman.conftest import PASSWORD, USER, apply, box, events, pod, status, terminated, wait
from tests.registry import registry  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow


def waits_for(platform, name, reason):
    def waiting():
        found = status(platform, name).get("state", {}).get("waiting") or {}
        return found.get("reason") == reason and found

    return eventually(waiting, deadline_s=60, what=reason)["message"]


def pull_secret(name, host, password):
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    content = json.dumps({"auths": {host: {"auth": auth}}})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": content},
    }


def test_an_image_that_no_registry_has_is_named_and_tried_again(platform, world):
    image = world.image.replace("box:1", "none:1")
    apply(platform, pod("none", {"name": "main", "image": image}))
    message = waits_for(platform, "none", "ImagePullBackOff")
    assert message.startswith(f'Back-off pulling image "{image}": ErrImagePull: ')
    assert "manifest unknown" in message
    assert any(e.startswith("Failed: Failed to pull image") for e in events(platform, "none"))
    platform.kubectl("delete", "pod", "none", "--wait=false")


def test_a_private_image_needs_the_right_secret(platform, world):
    wrong = pull_secret("wrong", world.private_host, "no")
    right = pull_secret("right", world.private_host, PASSWORD)
    container = box(world, "echo private", image=world.private, imagePullPolicy="Always")
    refused = pod("refused", container, imagePullSecrets=[{"name": "wrong"}])
    anonymous = pod("anonymous", container)
    private = pod(
        "private", container, restartPolicy="Never",
        imagePullSecrets=[{"name": "wrong"}, {"name": "right"}],
    )  # fmt: skip
    apply(platform, wrong, right, refused, anonymous, private)
    for name in ("refused", "anonymous"):
        message = waits_for(platform, name, "ImagePullBackOff")
        assert "authentication required" in message or "unauthorized" in message
    assert terminated(platform, "private")["exitCode"] == 0
    assert platform.kubectl("logs", "private") == "private\n"
    platform.kubectl("delete", "pod", "refused", "anonymous", "--wait=false")


def test_an_image_that_was_built_here_needs_no_registry(platform, world):
    built = pod("built", {"name": "main", "image": world.local}, restartPolicy="Never")
    never = pod(
        "never", {"name": "main", "image": "localhost/none:1", "imagePullPolicy": "Never"}
    )  # fmt: skip
    apply(platform, built, never)
    assert terminated(platform, "built")["exitCode"] == 0
    assert platform.kubectl("logs", "built") == "the command of the image\n"
    message = waits_for(platform, "never", "ErrImageNeverPull")
    assert message == (
        'Container image "localhost/none:1" is not present with pull policy of Never'
    )
    platform.kubectl("delete", "pod", "never", "--wait=false")


def test_a_pod_that_waits_for_its_image_goes_at_once(platform, world):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        image = f"127.0.0.1:{silent.getsockname()[1]}/slow:1"
        apply(platform, pod("slow", {"name": "main", "image": image}))
        eventually(lambda: any(e.startswith("Pulling") for e in events(platform, "slow")))
        started = time.monotonic()
        platform.kubectl("delete", "pod", "slow", "--wait")
        assert time.monotonic() - started < 10


def test_a_new_entry_of_the_table_serves_a_pod_that_waits_for_its_image(platform, world):
    image = world.image.replace("box:1", "later:1")
    container = {"name": "main", "image": image, "command": ["sleep", "1000"]}
    apply(platform, pod("later", container))
    waits_for(platform, "later", "ImagePullBackOff")
    table = platform.data_dir / "local-images.yaml"
    table.write_text(f"images: [{{match: ['{image}'], keepCommand: true}}]")
    try:
        wait(platform, "later")
        assert status(platform, "later")["imageID"] == f"local://{image}"
    finally:
        table.unlink()
    platform.kubectl("delete", "pod", "later", "--wait=false")


def test_what_the_local_images_table_has_stays_a_process(platform, world):
    tool = {"name": "main", "image": "busybox", "command": ["sh", "-c", "sleep 1000"]}
    apply(platform, pod("tool", tool))
    wait(platform, "tool")
    assert status(platform, "tool")["imageID"].startswith("local://")
    platform.kubectl("delete", "pod", "tool", "--wait=false")


def test_what_the_table_has_prepares_a_container_as_a_process(platform, world):
    mount = [{"name": "shared", "mountPath": "/shared"}]
    script = "echo fetched for $POD_IP > /shared/file; echo done"
    fetch = {"name": "fetch", "image": "busybox", "volumeMounts": mount,
             "command": ["sh", "-c", script]}  # fmt: skip
    main = box(world, "cat /shared/file", volumeMounts=mount)
    volumes = [{"name": "shared", "emptyDir": {}}]
    apply(
        platform,
        pod("mixed", main, initContainers=[fetch], restartPolicy="Never", volumes=volumes),
    )
    wait(platform, "mixed", "jsonpath={.status.phase}=Succeeded")
    found = platform.kubectl_json("get", "pod", "mixed")["status"]
    assert found["initContainerStatuses"][0]["imageID"] == "local://busybox"
    assert platform.kubectl("logs", "mixed", "-c", "fetch") == "done\n"
    assert platform.kubectl("logs", "mixed") == f"fetched for {found['podIP']}\n"
