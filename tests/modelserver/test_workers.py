"""The queue in front of a real engine."""

import asyncio

import numpy as np
import pytest

from motorpool.modelserver import workers
from motorpool.modelserver.errors import ModelFault, Overloaded
from tests.modelserver import models

pytestmark = pytest.mark.slow


def engine(directory, **options):
    import openvino as ov

    from motorpool.modelserver.engine import Options, load

    return load(ov.Core(), directory / "1" / "model.xml", Options("CPU", **options))


async def closed(pool):
    pool.close()
    for thread in pool._threads:
        await asyncio.to_thread(thread.join)


async def test_a_full_queue_is_refused_at_once(tmp_path):
    models.slow(tmp_path / "1", size=400)
    pool = workers.Workers(engine(tmp_path), "m")
    array = np.zeros((400, 400), np.float32)
    waiting = [asyncio.create_task(pool.infer([array])) for _ in range(workers.QUEUE_MOST + 1)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded, match="512 are waiting already"):
        await pool.infer([array])

    for task in waiting[1:]:
        task.cancel()
    await waiting[0]
    await closed(pool)


async def test_a_closed_pool_finishes_what_it_has_and_what_comes_late(tmp_path):
    models.times(tmp_path / "1", 3)
    pool = workers.Workers(engine(tmp_path), "m")
    array = np.ones((1, 4), np.float32)

    before = asyncio.create_task(pool.infer([array]))
    await asyncio.sleep(0)
    pool.close()
    after = await pool.infer([array])

    assert (await before).outputs[0].tolist() == [[3, 3, 3, 3]]
    assert after.outputs[0].tolist() == [[3, 3, 3, 3]]


async def test_a_quick_model_moves_to_the_loop_and_a_larger_request_does_not(tmp_path):
    models.times(tmp_path / "1", 3, shape=(-1, 4))
    pool = workers.Workers(engine(tmp_path), "m")
    small, large = np.ones((1, 4), np.float32), np.ones((1000, 4), np.float32)
    for _ in range(200):
        await pool.infer([small])
        if pool.is_quick(4):
            break

    assert pool.is_quick(small.size)
    assert not pool.is_quick(large.size)
    assert (await pool.infer([small])).outputs[0].tolist() == [[3, 3, 3, 3]]
    assert (await pool.infer([large])).outputs[0].shape == (1000, 4)
    await closed(pool)


async def test_an_engine_that_fails_answers_with_its_reason(tmp_path):
    models.two_inputs(tmp_path / "1")
    pool = workers.Workers(engine(tmp_path), "m")

    with pytest.raises(ModelFault, match="Internal inference error - "):
        await pool.infer([np.zeros((2, 2), np.int32), np.zeros((3, 2), np.int32)])
    await closed(pool)


async def test_more_streams_take_more_requests_at_a_time(tmp_path):
    models.times(tmp_path / "1", 3)

    two = engine(tmp_path, properties={"NUM_STREAMS": 2})

    assert (two.streams, two.parallel) == (2, 2)
