"""The data plane outlives the control plane: kill -9 under load drops nothing."""

import http.client
import threading

import pytest

from tests.platform import eventually, processes, running

pytestmark = pytest.mark.slow


class Load:
    """One client that asks and asks, on connections of its own; keeps what failed."""

    def __init__(self, port, host, path):
        self.port, self.host, self.path = port, host, path
        self.answered = 0
        self.failures = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(20)

    def _run(self):
        while not self._end.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                for _ in range(50):
                    connection.request("GET", self.path, headers={"Host": self.host})
                    response = connection.getresponse()
                    response.read()
                    if response.status == 200:
                        self.answered += 1
                    else:
                        self.failures.append(response.status)
            except OSError as error:
                self.failures.append(repr(error))
            finally:
                connection.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory, digits):
    with running(tmp_path_factory.mktemp("adoption") / "data") as platform:
        digits(platform)
        yield platform


def data_plane(platform):
    """The processes that must survive: Envoy, the supervisor, the model servers."""
    up = str(platform.process.pid)
    return {
        line
        for line in processes()
        if str(platform.data_dir) in line and line.split()[0] != up and "motorpool up" not in line
    }


def test_kill_9_and_another_up_keep_every_process_and_drop_no_request(platform):
    port = int(platform.endpoints["http"].rsplit(":", 1)[1])
    host = "digits-predictor-default.apps.localhost"
    pod = platform.kubectl_json("get", "pods")["items"][0]
    before = data_plane(platform)
    assert before

    with Load(port, host, "/v2/models/digits/ready") as load:
        for _ in range(3):
            eventually(lambda seen=load.answered: load.answered > seen + 50)
            platform.kill()
            eventually(lambda seen=load.answered: load.answered > seen + 50)
            platform.start()
            eventually(lambda seen=load.answered: load.answered > seen + 50)

    assert load.failures == []
    assert int(platform.endpoints["http"].rsplit(":", 1)[1]) == port
    assert before <= data_plane(platform)
    [after] = platform.kubectl_json("get", "pods")["items"]
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    [status] = after["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    assert status["state"] == pod["status"]["containerStatuses"][0]["state"]


def test_a_killed_model_server_comes_back_and_is_counted(platform):
    pod = platform.kubectl_json("get", "pods")["items"][0]
    before = pod["status"]["containerStatuses"][0]["restartCount"]
    crash = platform.data_dir / "pods" / pod["metadata"]["uid"]
    pids = [int(line.split()[0]) for line in processes() if str(crash) in line]
    pids = pids or platform.pids_of(pod)
    assert pids

    import os
    import signal

    os.kill(pids[0], signal.SIGKILL)

    def restarted():
        [status] = platform.kubectl_json("get", "pods")["items"][0]["status"]["containerStatuses"]
        return status if status["restartCount"] == before + 1 and status["ready"] else None

    status = eventually(restarted, deadline_s=40)
    assert status["lastState"]["terminated"]["exitCode"] == 137
