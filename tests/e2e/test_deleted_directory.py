"""A data directory that is deleted while everything of it runs."""

import shutil

import pytest

from tests.platform import Platform, eventually, processes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("control_plane", ["running", "killed"])
def test_nothing_of_a_deleted_data_directory_goes_on(tmp_path, control_plane):
    data_dir = tmp_path / "data"
    platform = Platform(data_dir)
    platform.start()
    command = "--command", "--", "/bin/sh", "-c", "sleep 600"
    platform.kubectl("run", "inside", "--image=busybox", *command)
    platform.kubectl("wait", "--for=condition=Ready", "pod/inside", "--timeout=60s")
    running = platform.data_plane()
    assert len(running) >= 3, "Envoy, the supervisor and the pod"
    if control_plane == "killed":
        platform.kill()

    shutil.rmtree(data_dir)
    eventually(lambda: not left_of(data_dir, running), deadline_s=60, what="all have ended")
    if control_plane == "running":
        assert platform.process.wait(60) != 0
        assert f"the data directory {data_dir} was deleted or replaced" in platform.log()
    assert not left_of(data_dir, running)


def left_of(data_dir, pids):
    numbers = {str(pid) for pid in pids}
    return [
        line for line in processes() if str(data_dir) in line or line.split(" ", 1)[0] in numbers
    ]
