"""What ends, restarts and holds up the Pods of this machine, with real processes."""

import os
import time

import pytest

from motorpool.api import core
from motorpool.node.users import not_heeded
from tests.node.conftest import Platform, exists, pod, shell, until
from tests.node.test_agent import web, with_pages

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("of_pod", "of_container", "uid", "heeded"),
    [
        ({}, {}, 0, True),
        ({"runAsUser": 7}, {}, 7, True),
        ({"runAsUser": 7}, {}, 0, False),
        ({"runAsUser": 7}, {"runAsUser": 0}, 0, True),
        ({"runAsNonRoot": True}, {}, 0, False),
        ({"runAsNonRoot": True}, {}, 7, True),
        ({}, {"runAsNonRoot": True}, 0, False),
    ],
)
def test_the_containers_word_on_users_counts_before_the_pods(
    of_pod: dict[str, object], of_container: dict[str, object], uid: int, heeded: bool
) -> None:
    container = {"name": "main", "securityContext": of_container}
    assert (not_heeded(container, pod(securityContext=of_pod), uid) == "") == heeded


async def test_a_pod_ends_at_its_deadline_and_stays_failed(platform: Platform) -> None:
    await platform.create(pod("web", shell("sleep 60"), activeDeadlineSeconds=1))
    await until(lambda: platform.status().get("phase") == "Failed")
    assert platform.status()["reason"] == "DeadlineExceeded"
    await platform.event("DeadlineExceeded: Pod was active on the node longer than")
    await until(lambda: "terminated" in platform.container()["state"])
    await platform.stop()
    platform.start()
    await platform.create(pod("other", shell("sleep 60")))
    await platform.ready("other")
    assert platform.status()["phase"] == "Failed"
    assert platform.container()["restartCount"] == 0


async def test_a_new_image_restarts_its_container_alone(platform: Platform) -> None:
    both = (shell("echo $0; sleep 60"), shell("sleep 60", "beside"))
    await platform.create(pod("web", *both))
    await platform.ready()
    beside = platform.pid("web", "beside")
    changed = [{**both[0], "image": "python"}, both[1]]
    await platform.client.patch(core.POD, "default", "web", {"spec": {"containers": changed}})
    await until(lambda: platform.container()["restartCount"] == 1 and platform.is_ready())
    assert platform.container()["image"] == "python"
    await platform.event("Killing: Container main definition changed, will be restarted")
    assert platform.pid("web", "beside") == beside


async def test_a_pod_that_is_deleted_while_its_containers_start_leaves_nothing(
    platform: Platform,
) -> None:
    for number in range(5):
        name = f"web-{number}"
        await platform.create(pod(name, shell("sleep 61"), shell("sleep 61", "other")))
        if number % 2:
            await until(lambda name=name: platform.status(name))
        await platform.delete(name, grace_s=0)
        assert not exists(f"{platform.data_dir}/pods/uid-{name}")


async def test_a_security_context_that_is_not_heeded_is_said(platform: Platform) -> None:
    user = os.geteuid() + 4711
    context = {"securityContext": {"runAsUser": user}}
    await platform.create(pod("web", shell("sleep 60", **context)))
    await platform.ready()
    text = f"SecurityContextIgnored: container main is to run as user {user} and runs as user"
    await platform.event(text)


async def test_what_was_missing_is_found_as_soon_as_it_is_there(platform: Platform) -> None:
    await platform.create(web())
    await platform.event('FailedMount: MountVolume.SetUp failed for volume "www"')
    started = time.monotonic()
    await with_pages(platform)
    await platform.ready()
    assert time.monotonic() - started < 5
