"""A bounded soak; the long one is a program, see soak.py."""

import os
import signal

import pytest

from motorpool.modelserver.llm.contract import EngineDead
from motorpool.modelserver.llm.engine.process import EngineProcess
from tests.modelserver.llm.engine import soak

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _keep_little(monkeypatch):
    for name, value in soak.KEEP_LITTLE.items():
        monkeypatch.setenv(name, value)


async def test_no_answer_is_anothers_none_is_stuck_and_nothing_grows(checkpoint):
    report = await soak.soak(checkpoint, requests=2000, prompts=80)
    assert sum(report.outcomes.values()) == 2000
    assert set(report.outcomes) == {"whole", "leaves", "bad", "structured"}
    half = len(report.resident_kb) // 2
    assert max(report.resident_kb[half:]) < 1.15 * max(report.resident_kb[:half])


async def test_killed_in_the_middle_of_it_everyone_is_told(checkpoint):
    engine = EngineProcess(soak.options(checkpoint))
    await engine.start()
    try:
        known = await soak.learn(engine, soak.random.Random(2), 20)
        told = 0

        async def stream(each: soak.Known) -> None:
            nonlocal told
            try:
                await soak.tokens_of(engine, each.prompt, each.sampling)
            except EngineDead as error:
                assert "was killed by SIGKILL" in str(error)
                told += 1

        async with soak.asyncio.TaskGroup() as group:
            for each in known:
                group.create_task(stream(each))
            while not engine.state.running:
                await soak.asyncio.sleep(0)
            os.kill(engine.pid, signal.SIGKILL)
        assert told
    finally:
        await engine.stop()
