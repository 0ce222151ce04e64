"""The data plane outlives the control plane: kill -9 under load drops nothing."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.load import Load
from tests.platform import eventually, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def platform(tmp_path_factory, digits):
    with running(tmp_path_factory.mktemp("adoption") / "data") as platform:
        digits(platform)
        yield platform


def listening_on(address):
    """The processes that listen on an address, found as ss finds them."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    inodes = {
        fields[9]
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if fields[1].startswith(f"{wanted}:") and fields[3] == "0A"
    }
    found = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]") in inodes:
                found.add(int(descriptor.parts[2]))
    return found


def test_kill_9_and_another_up_keep_every_process_and_drop_no_request(platform):
    port = int(platform.endpoints["http"].rsplit(":", 1)[1])
    host = "digits-predictor-default.apps.localhost"
    pod = platform.kubectl_json("get", "pods")["items"][0]
    before = platform.data_plane()
    assert len(before) >= 3  # Envoy, the supervisor and a model server at the least

    with Load(port, host, "/v2/models/digits/ready") as load:
        for _ in range(3):
            eventually(lambda seen=load.answered: load.answered > seen + 50)
            platform.kill()
            eventually(lambda seen=load.answered: load.answered > seen + 50)
            platform.start()
            eventually(lambda seen=load.answered: load.answered > seen + 50)

    assert load.failures == []
    assert int(platform.endpoints["http"].rsplit(":", 1)[1]) == port
    assert before <= platform.data_plane()
    [after] = platform.kubectl_json("get", "pods")["items"]
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    [status] = after["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    assert status["state"] == pod["status"]["containerStatuses"][0]["state"]


def test_a_killed_model_server_comes_back_and_is_counted(platform):
    pod = platform.kubectl_json("get", "pods")["items"][0]
    before = pod["status"]["containerStatuses"][0]["restartCount"]
    assert listening_on(pod["status"]["podIP"])
    for pid in listening_on(pod["status"]["podIP"]) & platform.model_servers():
        os.kill(pid, signal.SIGKILL)

    def restarted():
        [status] = platform.kubectl_json("get", "pods")["items"][0]["status"]["containerStatuses"]
        return status if status["restartCount"] == before + 1 and status["ready"] else None

    status = eventually(restarted, deadline_s=60)
    assert status["lastState"]["terminated"]["exitCode"] == 137
