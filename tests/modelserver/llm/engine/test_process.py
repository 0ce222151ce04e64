"""The engine's process: starts, answers, is cancelled, dies."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from motorpool.base.processes import identity_of
from motorpool.modelserver.llm.contract import (
    CheckpointError,
    CheckpointOptions,
    EngineBusy,
    EngineDead,
    EngineOptions,
    Generation,
    Sampling,
)
from motorpool.modelserver.llm.engine.process import EngineProcess
from tests.modelserver.llm.checkpoints import make_checkpoint
from tests.modelserver.llm.engine.conftest import EXACT

pytestmark = pytest.mark.slow

PROMPT = [5, 6, 7]
GREEDY = Sampling(12, temperature=0)
ENDLESS = Sampling(480, temperature=0, ignore_eos=True)
DEADLINE_S = 60


@contextlib.asynccontextmanager
async def running(checkpoint, **options):
    engine = EngineProcess(EngineOptions(checkpoint, **options))
    engine.info = await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def answer(engine, sampling=GREEDY, prompt=PROMPT):
    return [
        token
        async for tokens in engine.generate(Generation("id", prompt, sampling))
        for token in tokens.ids
    ]


async def until(condition):
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def test_it_says_what_it_has_loaded_and_answers(checkpoint):
    async with running(checkpoint, max_num_seqs=4, threads=1, **EXACT) as engine:
        info = engine.info
        assert (info.max_model_len, info.vocab_size, info.threads) == (512, 320, 1)
        assert info.eos_token_ids == (0, 2)
        assert 0 < info.load_s < DEADLINE_S
        first = await answer(engine)
        assert len(first) == 12
        answers = await asyncio.gather(*(answer(engine) for _ in range(8)))
        assert answers == [first] * 8
        assert engine.state.running == engine.state.waiting == 0
        assert engine.state.steps > 12
    assert "exit code 0" in str(await engine.died())


async def test_the_second_start_has_the_graph_at_hand(checkpoint, tmp_path):
    async with running(checkpoint, cache_dir=tmp_path, **EXACT) as engine:
        first = await answer(engine)
    async with running(checkpoint, cache_dir=tmp_path, **EXACT) as engine:
        assert await answer(engine) == first


async def test_whoever_leaves_is_cancelled_while_others_go_on(checkpoint):
    async with running(checkpoint) as engine:
        leaving = engine.generate(Generation("leaving", PROMPT, ENDLESS))
        staying = asyncio.create_task(answer(engine, ENDLESS, [9]))
        await anext(leaving)
        await until(lambda: engine.state.running == 2)
        await leaving.aclose()
        steps = engine.state.steps
        while engine.state.running == 2:
            await asyncio.sleep(0)
        # The loop's own test counts exactly; here the message needs its way, which is many steps
        # of a model as small as this one.
        assert engine.state.steps - steps < 100
        assert len(await staying) == 480


async def test_a_task_that_is_cancelled_cancels_its_generation(checkpoint):
    async with running(checkpoint) as engine:
        task = asyncio.create_task(answer(engine, ENDLESS))
        await until(lambda: engine.state.running == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: engine.state.running == 0)


async def test_idle_it_uses_no_processor_time(checkpoint):
    async with running(checkpoint) as engine:
        await answer(engine)

        def ticks():
            stat = Path(f"/proc/{engine.pid}/stat").read_text()
            return sum(map(int, stat[stat.rindex(")") + 2 :].split()[11:13]))

        # Its threads spin a little after a step.
        async with asyncio.timeout(DEADLINE_S):
            used = 2
            while used > 1:
                before = ticks()
                await asyncio.sleep(0.5)
                used = ticks() - before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_its_death_is_told_to_all_who_wait(checkpoint, number):
    async with running(checkpoint) as engine:
        streams = [engine.generate(Generation(f"{n}", PROMPT, ENDLESS)) for n in range(3)]
        for stream in streams:
            await anext(stream)
        died = asyncio.create_task(engine.died())
        os.kill(engine.pid, number)
        async with asyncio.timeout(DEADLINE_S):
            for stream in streams:
                with pytest.raises(EngineDead, match=f"was killed by {number.name}"):
                    async for _ in stream:
                        pass
            assert number.name in str(await died)
        with pytest.raises(EngineDead):
            await answer(engine)
        assert engine.state.running == 0


async def test_a_native_crash_leaves_its_last_words(checkpoint):
    lines = []
    engine = EngineProcess(EngineOptions(checkpoint), lines.append)
    await engine.start()
    os.kill(engine.pid, signal.SIGABRT)
    error = str(await asyncio.wait_for(engine.died(), DEADLINE_S))
    assert "was killed by SIGABRT" in error
    assert "Fatal Python error: Aborted" in "\n".join(lines)
    await engine.stop()


async def test_signals_to_the_servers_group_are_not_for_it(checkpoint):
    async with running(checkpoint) as engine:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(engine.pid, number)
        assert len(await answer(engine)) == 12


async def test_files_that_cannot_be_served_say_why(checkpoint, tmp_path):
    config = json.loads((checkpoint / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["Unheard"]}))
    (tmp_path / "model.safetensors").symlink_to(checkpoint / "model.safetensors")
    engine = EngineProcess(EngineOptions(tmp_path))
    with pytest.raises(CheckpointError, match="Unheard"):
        await engine.start()
    assert identity_of(engine.pid) is None


@pytest.mark.parametrize(
    ("computed", "kept", "dtype"), [("bf16", "f32", "float32"), ("f32", "bf16", "bfloat16")]
)
async def test_a_cache_of_other_numbers_than_are_computed_says_what_would_do(
    checkpoint, computed, kept, dtype
):
    graph = CheckpointOptions(precision=computed)
    engine = EngineProcess(EngineOptions(checkpoint, graph=graph, kv_cache_precision=kept))
    try:
        await engine.start()
    except CheckpointError as error:
        assert f"in {kept} does not go with computing in" in str(error)
        assert str(error).endswith(f"or compute in {kept} too, with --dtype {dtype}")
    else:  # a CPU whose engine takes them
        assert len(await answer(engine)) == 12
    finally:
        await engine.stop()


async def test_more_than_may_wait_are_turned_away_and_the_others_answered(checkpoint):
    async with running(checkpoint, max_num_seqs=1, max_waiting=2) as engine:
        first = asyncio.create_task(answer(engine, ENDLESS))
        await until(lambda: engine.state.running == 1)
        waiting = [asyncio.create_task(answer(engine)) for _ in range(2)]
        await until(lambda: engine.state.waiting == 2)
        with pytest.raises(EngineBusy, match="2 requests are waiting already"):
            await answer(engine)
        assert len(await first) == 480
        assert [len(await each) for each in waiting] == [12, 12]
        assert len(await answer(engine)) == 12


async def test_a_start_can_be_given_up(checkpoint):
    engine = EngineProcess(EngineOptions(checkpoint))
    starting = asyncio.create_task(engine.start())
    await until(lambda: engine.pid)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert identity_of(engine.pid) is None


async def test_stopping_aborts_what_runs(checkpoint):
    async with running(checkpoint) as engine:
        stream = engine.generate(Generation("1", PROMPT, ENDLESS))
        await anext(stream)
        await engine.stop()
        last = [tokens async for tokens in stream][-1]
        assert last.finish == "abort"


async def test_a_checkpoint_that_embeds_gives_vectors_and_no_text(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "roberta", "xlm-roberta")
    async with running(checkpoint) as engine:
        assert engine.info.task == "embed"
        one, two = await engine.embed([[5, 6, 7], [8]])
        assert len(one) == len(two) == 64
        assert one != two
        assert await engine.embed([[8]]) == [two]
        for prompt, message in (([], "no tokens"), ([5] * 600, "and 51"), ([-1], "outside of")):
            with pytest.raises(ValueError, match=message):
                await engine.embed([[5], prompt])
        stream = engine.generate(Generation("1", PROMPT, GREEDY))
        assert "writes no text" in (await anext(stream)).message


async def test_a_checkpoint_that_writes_gives_no_vectors(checkpoint):
    async with running(checkpoint) as engine:
        with pytest.raises(ValueError, match="gives no embeddings"):
            await engine.embed([[5]])


OWNER = """
import asyncio, sys
from pathlib import Path
from motorpool.modelserver.llm.contract import EngineOptions, Generation, Sampling
from motorpool.modelserver.llm.engine.process import EngineProcess

async def main():
    engine = EngineProcess(EngineOptions(Path(sys.argv[1])))
    await engine.start()
    print(engine.pid, flush=True)
    async for _ in engine.generate(Generation("1", [5], Sampling(480, 0, 0.0, ignore_eos=True))):
        await asyncio.sleep(0.01)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_it_ends_with_its_owner(checkpoint):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(checkpoint)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        pid = int(owner.stdout.readline())
        identity = identity_of(pid)
        assert identity is not None
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    deadline = time.monotonic() + DEADLINE_S
    while identity_of(pid) == identity:
        assert time.monotonic() < deadline, "it goes on without its owner"
        time.sleep(0.01)
