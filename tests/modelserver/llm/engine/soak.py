"""Many requests of every kind against one engine: ``python -m tests.modelserver.llm.engine.soak``.

Each answer is compared with what the same prompt was answered alone, so that nothing of a
neighbour's can go unnoticed; some leave in the middle, some ask for what cannot be had. The cache
is so small that sequences push each other out of it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from motorpool.modelserver.llm.contract import (
    CheckpointOptions,
    EngineOptions,
    Generation,
    Sampling,
    Structure,
)
from motorpool.modelserver.llm.engine.process import EngineProcess
from tests.modelserver.llm.checkpoints import make_checkpoint

CONCURRENT = 48
LONGEST = 64  # tokens of an answer
BLOCK_BYTES = 2 * 2 * 2 * 32 * 16 * 4  # of the tiny checkpoint, in f32
BLOCKS = 120
STUCK_S = 120.0
KEEP_LITTLE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}  # for the environment of the process

BAD: list[tuple[list[int], Sampling]] = [
    ([], Sampling(4)),
    ([5] * 600, Sampling(4)),
    ([1_000_000], Sampling(4)),
    ([5], Sampling(4, temperature=-1.0)),
    ([5], Sampling(4, temperature=float("nan"))),
    ([5], Sampling(4, repetition_penalty=0.0)),
    ([5], Sampling(0)),
    ([5], Sampling(4, structure=Structure("regex", "(a"))),
    ([5], Sampling(4, structure=Structure("json", "{"))),
]


@dataclass
class Known:
    """A prompt, and what it is answered alone."""

    prompt: list[int]
    sampling: Sampling
    answer: list[int]


@dataclass
class Report:
    requests: int
    outcomes: dict[str, int]
    seconds: float
    tokens: int
    resident_kb: list[int]  # of the engine's process: after the first tenth, and so on
    state: str


class Wrong(AssertionError):
    pass


def options(checkpoint: Path) -> EngineOptions:
    """With which rounding decides nothing, and what grows is a leak.

    The engine keeps code for every number of tokens in a step that it has met, up to a bound that
    a soak of a small model would not reach; see also KEEP_LITTLE.
    """
    return EngineOptions(
        checkpoint,
        graph=CheckpointOptions(precision="f32"),
        max_model_len=400,
        max_num_seqs=24,
        kv_cache_bytes=BLOCKS * BLOCK_BYTES,
        kv_cache_precision="f32",
        properties={"INFERENCE_PRECISION_HINT": "f32", "CPU_RUNTIME_CACHE_CAPACITY": 100},
    )


async def tokens_of(engine: EngineProcess, prompt: list[int], sampling: Sampling) -> list[int]:
    ids: list[int] = []
    async for tokens in engine.generate(Generation("soak", prompt, sampling)):
        if tokens.finish == "error":
            raise Wrong(f"{prompt[:5]}… {sampling}: {tokens.message}")
        ids += tokens.ids
    return ids


async def learn(engine: EngineProcess, rng: random.Random, many: int) -> list[Known]:
    """Prompts of all lengths, of which some begin alike, one after the other."""
    known: list[Known] = []
    beginnings = [[rng.randrange(3, 320) for _ in range(200)] for _ in range(5)]
    for number in range(many):
        own = [rng.randrange(3, 320) for _ in range(rng.randint(1, 120))]
        prompt = rng.choice(beginnings)[: rng.randrange(200)] + own if number % 2 else own
        temperature = 1.0 if number % 3 == 0 else 0.0
        sampling = Sampling(LONGEST, temperature=temperature, seed=number, ignore_eos=True)
        known.append(Known(prompt, sampling, await tokens_of(engine, prompt, sampling)))
    return known


async def one(engine: EngineProcess, known: list[Known], rng: random.Random) -> tuple[str, int]:
    """What kind of request it was, and how many tokens it brought. Raises Wrong."""
    kind = rng.choices(["whole", "leaves", "bad", "structured"], [70, 20, 5, 5])[0]
    if kind == "bad":
        prompt, sampling = rng.choice(BAD)
        with contextlib.suppress(Wrong):
            raise RuntimeError(f"answered: {await tokens_of(engine, prompt, sampling)}")
        return kind, 0
    each = rng.choice(known)
    if kind == "structured":
        structure = Structure("choice", choices=("yes", "no"))
        sampling = Sampling(50, seed=rng.randrange(1000), structure=structure)
        ids = await tokens_of(engine, each.prompt, sampling)
        if not 2 <= len(ids) <= 4:
            raise Wrong(f"a choice of {len(ids)} tokens")
        return kind, len(ids)
    wanted = rng.randint(1, LONGEST)
    sampling = replace(each.sampling, max_tokens=wanted)
    if kind == "whole":
        ids = await tokens_of(engine, each.prompt, sampling)
        _compare(ids, each.answer[:wanted], each)
        return kind, len(ids)
    stream = engine.generate(Generation("soak", each.prompt, sampling))
    leave_after, ids = rng.randrange(wanted), []
    async with contextlib.aclosing(stream):
        if leave_after:
            async for tokens in stream:
                ids += tokens.ids
                if len(ids) >= leave_after:
                    break
        else:  # before anything has come
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rng.random() * 0.01):
                    ids += (await anext(stream)).ids
    _compare(ids, each.answer[: len(ids)], each)
    return kind, len(ids)


def _compare(ids: list[int], answer: list[int], each: Known) -> None:
    if ids != answer:
        raise Wrong(f"{each.prompt[:5]}…: {ids} instead of {answer}")


async def soak(checkpoint: Path, requests: int, prompts: int, seed: int = 1) -> Report:
    rng = random.Random(seed)
    engine = EngineProcess(options(checkpoint))
    await engine.start()
    outcomes: Counter[str] = Counter()
    resident: list[int] = []
    left = iter(range(requests))
    tokens = 0

    async def work(number: int) -> None:
        nonlocal tokens
        own = random.Random(seed * 1000 + number)
        for done in left:
            async with asyncio.timeout(STUCK_S):
                kind, count = await one(engine, known, own)
            outcomes[kind] += 1
            tokens += count
            if done % max(1, requests // 10) == 0:
                resident.append(_resident_kb(engine.pid))

    try:
        known = await learn(engine, rng, prompts)
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(CONCURRENT):
                group.create_task(work(number))
        seconds = time.monotonic() - begun
        async with asyncio.timeout(STUCK_S):
            while engine.state.running or engine.state.waiting:
                await asyncio.sleep(0.01)
        _compare(await tokens_of(engine, known[0].prompt, known[0].sampling), known[0].answer,
                 known[0])  # fmt: skip
        return Report(requests, dict(outcomes), seconds, tokens, resident, str(engine.state))
    finally:
        await engine.stop()


def _resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    os.environ.update(KEEP_LITTLE)
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = make_checkpoint(Path(directory) / "tiny")
        report = asyncio.run(soak(checkpoint, given.requests, given.prompts, given.seed))
    print(json.dumps(report.__dict__, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
