"""Models that are still being copied, or written over, while others are served."""

import contextlib
import json
import shutil
import threading

import pytest

from tests.modelserver import models
from tests.modelserver.server import started, wait_until

pytestmark = pytest.mark.slow

ROW = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]}


@contextlib.contextmanager
def asking(server):
    """The statuses of the answers to a client that never stops."""
    stop, answers = threading.Event(), []

    def ask():
        while not stop.is_set():
            answers.append(server.infer(ROW).status)

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield answers
    finally:
        stop.set()
        client.join()


def states(server):
    versions = server.get("/v1/models/m").json["model_version_status"]
    return {each["version"]: each["state"] for each in versions}


def test_a_version_that_is_still_copied_takes_over_once_it_is_whole(tmp_path):
    models.table(tmp_path / "m" / "1", 1)
    models.table(tmp_path / "new", 2)
    weights = (tmp_path / "new" / "model.bin").read_bytes()
    second = tmp_path / "m" / "2"
    log = tmp_path / "log"

    def tried():
        return log.read_text().count("event=loading model=m version=2")

    with started(tmp_path / "m", log=log) as server, asking(server) as answers:
        second.mkdir()
        shutil.copy(tmp_path / "new" / "model.xml", second)
        for part in (0, len(weights) // 2, len(weights)):
            assert states(server)["1"] == "AVAILABLE"
            before = tried()
            (second / "model.bin").write_bytes(weights[:part])
            wait_until(lambda: tried() > before)  # noqa: B023 - called before it changes
        wait_until(lambda: states(server) == {"1": "END", "2": "AVAILABLE"})
        seen = len(answers)
        wait_until(lambda: len(answers) > seen)

    assert set(answers) == {200}


def test_weights_that_are_not_mapped_may_be_written_over(tmp_path):
    models.table(tmp_path / "1", 4)
    unmapped = f"--plugin_config={json.dumps({'ENABLE_MMAP': False})}"
    once = "--file_system_poll_wait_seconds=0"
    with started(tmp_path, unmapped, once, log=tmp_path / "log") as server:
        before = server.infer(ROW).json["outputs"]
        (tmp_path / "1" / "model.bin").write_bytes(b"torn")

        assert server.infer(ROW).json["outputs"] == before
