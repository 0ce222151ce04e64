"""Each process of the platform is killed at random, under load; what must always hold, holds.

`MOTORPOOL_FAULT_ROUNDS` makes it longer; a failure tells the seed, which `MOTORPOOL_FAULT_SEED`
repeats.
"""

import json
import os
import random
import signal

import pytest

from tests.load import Load
from tests.platform import descendants, eventually, processes, running

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("MOTORPOOL_FAULT_ROUNDS", "2"))
SEED = int(os.environ.get("MOTORPOOL_FAULT_SEED", str(random.randrange(1 << 32))))
SUPERVISOR = "motorpool.node.supervisor "
HOST = "digits-predictor-default.apps.localhost"


@pytest.fixture(scope="module")
def platform(tmp_path_factory, digits):
    with running(tmp_path_factory.mktemp("faults") / "data") as platform:
        digits(platform)
        yield platform


def pids_of(platform, words):
    return {
        int(line.split()[0])
        for line in processes()
        if words in line and str(platform.data_dir) in line
    }


def ready(platform):
    [pod] = platform.kubectl_json("get", "pods")["items"]
    [status] = pod["status"]["containerStatuses"]
    return pod if status["ready"] else None


def kill_control_plane(platform):
    platform.kill()
    platform.start()


def supervisor_of(platform):
    """Its pid, once it is alone: whoever starts one shows the same command line for a moment."""
    pids = eventually(lambda: len(found := pids_of(platform, SUPERVISOR)) == 1 and found)
    return next(iter(pids))


def kill_supervisor(platform):
    pid = supervisor_of(platform)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pids_of(platform, SUPERVISOR) - {pid})


def kill_fork_server(platform):
    """Where there is one: after the supervisor it comes back with the next pod."""
    pods = {
        json.loads(record.read_text())["pid"]
        for record in platform.data_dir.glob("pods/*/run/*.json")
    }
    for pid in descendants(supervisor_of(platform)) - pods:
        os.kill(pid, signal.SIGKILL)


FAULTS = [kill_control_plane, kill_supervisor, kill_fork_server]


def test_no_request_fails_whatever_of_the_control_side_is_killed(platform):
    faults = random.Random(SEED).sample(FAULTS * ROUNDS, len(FAULTS) * ROUNDS)
    port = int(platform.endpoints["http"].rsplit(":", 1)[1])
    before = ready(platform)

    with Load(port, HOST, "/v2/models/digits/ready") as load:
        for fault in faults:
            fault(platform)
            eventually(lambda seen=load.answered: load.answered > seen + 20)

    assert load.failures == [], f"seed {SEED}: {[fault.__name__ for fault in faults]}"
    after = eventually(lambda: ready(platform))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_killed_envoy_is_back_at_the_same_address(platform):
    port = int(platform.endpoints["http"].rsplit(":", 1)[1])
    [pid] = pids_of(platform, "envoy")
    os.kill(pid, signal.SIGKILL)

    def answers():
        with Load(port, HOST, "/v2/models/digits/ready") as load:
            eventually(lambda: load.answered + len(load.failures) > 0)
        return load.answered

    eventually(answers, what="answers from the router")
    assert pids_of(platform, "envoy") != {pid}
