"""How many threads the engine takes where CPUs are limited."""

import re

import pytest

from tests.modelserver import models
from tests.modelserver.server import started


@pytest.mark.parametrize(
    ("limit", "cores", "threads"),
    [("1", 2, 1), ("1.5", 4, 2), ("0.2", 4, 1), ("4", 4, None), (None, 4, None), ("x", 4, None)],
)
def test_a_limit_below_the_cores_is_the_number_of_threads(limit, cores, threads):
    from motorpool.modelserver.engine import threads_of

    environment = {} if limit is None else {"MOTORPOOL_CPU_LIMIT": limit}
    assert threads_of(environment, cores).get("INFERENCE_NUM_THREADS") == threads


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "threads"), [((), 1), (('{"INFERENCE_NUM_THREADS": 2}',), 2)])
def test_the_server_takes_as_many_threads_as_its_limit_unless_told(
    tmp_path, monkeypatch, flags, threads
):
    monkeypatch.setenv("MOTORPOOL_CPU_LIMIT", "0.5")
    models.times(tmp_path / "1", 2)
    told = [f"--plugin_config={flag}" for flag in flags]
    with started(tmp_path, *told, log=tmp_path / "log") as server:
        document = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
        assert server.infer({"inputs": [document]}).status == 200
    assert re.search(rf"compiled .*threads={threads}\b", (tmp_path / "log").read_text())
