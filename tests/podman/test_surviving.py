"""Containers outlive the platform and podman's service, and end with `motorpool down`."""

import json
import os
import signal

import pytest

from motorpool.node.podman.service import owner_of
from motorpool.node.podman.spec import LABEL_OWNER
from tests.platform import eventually, running
from tests.podman.boxes import podman
from tests.podman.conftest import apply, box, events, pod, status, wait
from tests.registry import registry  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow

SLEEP = "exec sleep 1000"


def names():
    return podman("ps", "--format", "{{.Names}}").split()


def ours(platform):
    return f"label={LABEL_OWNER}={owner_of(platform.data_dir)}"


def pid_of(name):
    [found] = [line for line in names() if line.startswith(f"main.0.{name}.")]
    return int(podman("inspect", found, "--format", "{{.State.Pid}}"))


@pytest.fixture(scope="module")
def own(tmp_path_factory, world):
    with running(tmp_path_factory.mktemp("surviving") / "data", "--engine", "podman") as platform:
        yield platform


def test_kill_9_and_another_up_keep_containers_and_know_what_has_ended(own, world):
    stays = pod("stays", box(world, SLEEP))
    leaves = pod("leaves", box(world, "sleep 0.1; read x; exit 9", stdin=True),
                 restartPolicy="Never")  # fmt: skip
    vanishes = pod("vanishes", box(world, SLEEP))
    apply(own, stays, leaves, vanishes)
    for name in ("stays", "leaves", "vanishes"):
        wait(own, name)
    before = own.kubectl_json("get", "pod", "stays")
    pid = pid_of("stays")
    ends = pid_of("leaves")
    own.kill()
    os.kill(ends, signal.SIGKILL)
    own.start()
    wait(own, "stays")
    after = own.kubectl_json("get", "pod", "stays")
    assert pid_of("stays") == pid
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    end = eventually(lambda: status(own, "leaves")["state"].get("terminated"), deadline_s=60)
    assert end["exitCode"] == 137
    own.kubectl("delete", "pod", "vanishes", "leaves", "--wait")
    assert not [name for name in names() if "vanishes" in name]


def test_a_container_that_was_removed_behind_our_back_is_started_again(own, world):
    [found] = [line for line in names() if line.startswith("main.0.stays.")]
    podman("rm", "-f", "-t", "0", found)
    again = eventually(
        lambda: (s := status(own, "stays"))["restartCount"] == 1 and "running" in s["state"] and s,
        deadline_s=60,
    )
    assert again["lastState"]["terminated"]["exitCode"] == 137


def test_podmans_service_may_die(own, world):
    record = json.loads((own.data_dir / "podman" / "service.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    assert own.kubectl("exec", "stays", "--", "echo", "still there") == "still there\n"
    apply(own, pod("late", box(world, SLEEP)))
    wait(own, "late")


def test_all_that_was_killed_with_its_monitors_runs_again(own, world):
    before = status(own, "late")["restartCount"]
    service = json.loads((own.data_dir / "podman" / "service.json").read_text())
    shown = "{{.State.ConmonPid}} {{.State.Pid}}"
    ids = podman("ps", "-q", "--filter", ours(own)).split()
    pids = podman("inspect", "--format", shown, *ids).split()
    own.kill()
    for pid in (service["pid"], *pids):
        os.kill(int(pid), signal.SIGKILL)
    (own.data_dir / "run" / "podman.sock").unlink()
    own.start()
    again = eventually(
        lambda: (s := status(own, "late"))["restartCount"] == before + 1 and s["ready"] and s
    )
    assert again["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_down_ends_containers_and_up_starts_them_again(own, world):
    foreign = podman(
        "run", "-d", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
        "--runtime=runc", world.local, "sleep", "1000",
    ).strip()  # fmt: skip
    before = status(own, "late")["restartCount"]
    own.stop()
    assert podman("ps", "-a", "-q", "--filter", ours(own)) == ""
    assert foreign in podman("ps", "-q", "--no-trunc").split()
    own.start()
    found = eventually(
        lambda: (s := status(own, "late"))["restartCount"] == before + 1 and s["ready"] and s,
        deadline_s=60,
    )
    assert found["lastState"]["terminated"]["exitCode"] == 137
    podman("rm", "-f", "-t", "0", foreign)
    assert "BackOff" not in " ".join(events(own, "late"))
