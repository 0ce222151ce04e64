"""Tokens a second of the engine in a loop: `python -m bench.llm_bare CHECKPOINT STREAMS`."""

import os
import random
import sys
import time
from pathlib import Path

from motorpool.modelserver.llm.contract import EngineOptions, Sampling
from motorpool.modelserver.llm.engine.loading import load
from motorpool.modelserver.llm.engine.wire import Add
from motorpool.modelserver.llm.load import TOKENS

PROMPT, ANSWER, ROUNDS = 32, 128, 3


def main(checkpoint: Path, streams: int) -> None:
    cache = os.environ.get("MOTORPOOL_CACHE_DIR")
    options = EngineOptions(checkpoint, cache_dir=Path(cache) if cache else None)
    loop = load(options, lambda: 0.0).loop
    rng = random.Random(7)
    tokens = 0
    for round_ in range(ROUNDS + 1):
        if round_ == 1:  # the first warms up
            begun, tokens = time.perf_counter(), 0
        for number in range(streams):
            prompt = [rng.choice(TOKENS) for _ in range(PROMPT)]
            sampling = Sampling(ANSWER, temperature=0, ignore_eos=True)
            loop.add(Add(round_ * streams + number, prompt, sampling))
        while not loop.is_idle:
            tokens += sum(len(event.ids) for event in loop.turn())
    print(tokens / (time.perf_counter() - begun))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
