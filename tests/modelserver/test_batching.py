"""Which requests become one, and whose answer is whose."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorpool.modelserver import batching, workers
from motorpool.modelserver.errors import ModelFault
from motorpool.modelserver.estimators.engine import Estimator, EstimatorEngine
from motorpool.modelserver.tensors import Dimension, ModelSpec, TensorSpec

ANY = Dimension(0)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_everyone_gets_the_rows_that_they_sent(counts):
    requests = [
        [np.full((rows, 2), number), np.arange(rows) + 10 * number]
        for number, rows in enumerate(counts)
    ]

    parts = batching.split(batching.joined(requests), counts)

    assert parts is not None
    for part, request in zip(parts, requests, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(part, request, strict=True))


def test_an_answer_that_is_not_row_by_row_cannot_be_split():
    assert batching.split([np.zeros(3)], [1, 1]) is None
    assert batching.split([np.float32(1)], [1, 1]) is None


@pytest.mark.parametrize(
    ("other", "expected"),
    [(np.zeros((5, 2)), True), (np.zeros((1, 3)), False), (np.zeros((1, 2), np.float32), False)],
)
def test_requests_fit_where_only_the_number_of_rows_differs(other, expected):
    assert batching.fit([np.zeros((1, 2))], [other]) is expected


def test_tensors_that_disagree_about_the_rows_have_none():
    assert batching.rows_of([np.zeros((2, 1)), np.zeros((2, 9))]) == 2
    assert batching.rows_of([np.zeros((2, 1)), np.zeros((3, 1))]) == 0
    assert batching.rows_of([np.zeros(())]) == 0


@pytest.mark.parametrize(
    ("first", "layout", "expected"),
    [(ANY, "N...", True), (Dimension(1, 1), "N...", False), (ANY, "CN", False)],
)
def test_a_model_is_batchable_where_its_first_dimension_is_free(first, layout, expected):
    tensor = TensorSpec("x", "FP32", (first, Dimension(2, 2)), layout)

    assert batching.is_batchable(ModelSpec((tensor,), (tensor,))) is expected


class Calls:
    """A model that says how many rows each call had, and refuses negative ones."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, rows):
        self.rows.append(len(rows))
        if (rows < 0).any():
            raise ValueError("negative")
        return rows.sum(axis=1)


async def asked(pool: workers.Workers, rows: Sequence[list[float]]) -> list[object]:
    tasks = [asyncio.create_task(pool.infer([np.array([row])])) for row in rows]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    return [
        answer.outputs[0].tolist() if isinstance(answer, workers.Answer) else answer
        for answer in answers
    ]


async def closed(pool):
    pool.close()
    for thread in pool._threads:
        await asyncio.to_thread(thread.join)


@pytest.fixture
async def calls_and_pool():
    calls = Calls()
    pool = workers.Workers(EstimatorEngine(Estimator(calls, "FP64", 2)), "m")
    calls.rows.clear()
    yield calls, pool
    await closed(pool)


async def made_quick(pool):
    for _ in range(1000):
        await pool.infer([np.zeros((1, 2))])
        if pool.is_quick(2):
            return
    pytest.fail("it never became quick")


async def test_what_comes_together_is_computed_together(calls_and_pool):
    calls, pool = calls_and_pool
    await made_quick(pool)
    calls.rows.clear()

    assert await asked(pool, [[n, 1] for n in range(20)]) == [[n + 1] for n in range(20)]
    assert calls.rows == [20]


async def test_one_that_fails_does_not_spoil_the_others(calls_and_pool):
    _, pool = calls_and_pool
    await made_quick(pool)

    first, wrong, last = await asked(pool, [[1, 1], [-1, 1], [2, 2]])

    assert (first, last) == ([2], [4])
    assert isinstance(wrong, ModelFault)
    assert "ValueError : negative" in str(wrong)


async def test_what_waits_for_a_thread_is_computed_together(calls_and_pool):
    calls, pool = calls_and_pool

    answers = await asked(pool, [[n, 1] for n in range(200)])

    assert answers == [[n + 1] for n in range(200)]
    assert sum(calls.rows) == 200
    assert len(calls.rows) < 200


async def test_a_batch_never_has_more_rows_than_the_engine_wants(calls_and_pool):
    calls, pool = calls_and_pool
    rows = [np.ones((100, 2))] * 6

    await asyncio.gather(*(pool.infer([each]) for each in rows))

    assert max(calls.rows) <= 256


async def test_within_a_window_the_first_waits_for_the_others():
    calls = Calls()
    pool = workers.Workers(EstimatorEngine(Estimator(calls, "FP64", 2)), "m", window_s=60)
    calls.rows.clear()

    first = asyncio.create_task(pool.infer([np.array([[1.0, 1.0]])]))
    await asyncio.sleep(0.02)
    # As many as end the window.
    others = pool._rows_most - 1
    second = await pool.infer([np.full((others, 2), 2.0)])

    assert (await first).outputs[0].tolist() == [2]
    assert second.outputs[0].tolist() == [4] * others
    assert calls.rows == [1 + others]
    await closed(pool)


async def test_what_nobody_waits_for_is_not_computed():
    calls, opened = Calls(), threading.Event()
    opened.set()

    def predict(rows):
        assert opened.wait(20)
        return calls(rows)

    pool = workers.Workers(EstimatorEngine(Estimator(predict, "FP64", 2)), "m")
    opened.clear()
    calls.rows.clear()
    tasks = [asyncio.create_task(pool.infer([np.ones((1, 2))])) for _ in range(1)]
    while not pool._queue.empty() or not pool.active:
        await asyncio.sleep(0)
    tasks += [asyncio.create_task(pool.infer([np.ones((1, 2))])) for _ in range(3)]
    await asyncio.sleep(0)

    tasks[2].cancel()
    opened.set()
    await asyncio.gather(*tasks[:2], tasks[3])

    assert calls.rows == [1, 2]
    await closed(pool)
