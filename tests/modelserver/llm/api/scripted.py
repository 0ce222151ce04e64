"""An engine that says what it is told to: for tests of the interface alone, its errors and times.

The last thing in brackets of the prompt, ``SAY[...]SAY``, is its answer; without one it counts. An
answer may hold a word of command: DIE ends the engine, FAIL fails this answer, STALL never ends,
BUSY is turned away.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from motorpool.modelserver.llm.contract import (
    EngineBusy,
    EngineDead,
    EngineState,
    Generation,
    ModelInfo,
    Tokens,
)

END = 2
VOCABULARY = 300


class ScriptedEngine:
    def __init__(
        self, directory: Path, *, max_model_len: int = 512, task: str = "generate"
    ) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._max_model_len = max_model_len
        self._task = task
        self._dead = asyncio.Event()
        self.running: set[str] = set()
        self.cancelled: list[str] = []
        self.asked: list[Generation] = []

    async def start(self) -> ModelInfo:
        return ModelInfo(
            max_model_len=self._max_model_len,
            vocab_size=VOCABULARY,
            eos_token_ids=(END,),
            kv_block_tokens=32,
            kv_cache_bytes_max=1,
            threads=1,
            task=self._task,  # type: ignore[arg-type]
            load_s=0.01,
            cached_graph=False,
        )

    async def generate(self, generation: Generation) -> AsyncIterator[Tokens]:
        self.asked.append(generation)
        self.running.add(generation.id)
        finished = False
        try:
            async for event in self._events(generation):
                finished = event.finish is not None
                yield event
        finally:
            self.running.discard(generation.id)
            if not finished:
                self.cancelled.append(generation.id)

    async def _events(self, generation: Generation) -> AsyncIterator[Tokens]:
        prompt = self._tokenizer.decode(list(generation.prompt), skip_special_tokens=False)
        said = prompt.rpartition("SAY[")[2].partition("]SAY")[0] if "SAY[" in prompt else None
        if said is None:
            said = " ".join(map(str, range(200)))
        for number, token in enumerate(self._ids(said), 1):
            await asyncio.sleep(0)
            if self._dead.is_set():
                raise EngineDead("exit code -9; its last words: Killed")
            sampling = generation.sampling
            event = Tokens([token], [-0.5] if sampling.logprobs else [])
            if token in sampling.stop_token_ids:
                event.finish, event.stop_token = "stop", token
            elif number == sampling.max_tokens:
                event.finish = "length"
            yield event
            if event.finish:
                return
        if "FAIL" in said:
            yield Tokens([], finish="error", message="the grammar cannot be compiled")
        if "DIE" in said:
            self._dead.set()
        if "STALL" in said or "DIE" in said:
            await self._dead.wait()
            raise EngineDead("exit code -9; its last words: Killed")
        yield Tokens([END], [-0.1] if generation.sampling.logprobs else [], "stop")

    def _ids(self, text: str) -> Sequence[int]:
        if text == "BUSY":
            raise EngineBusy("7 requests are waiting already, as many as may")
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        if any(len(prompt) > 100 for prompt in prompts):
            raise ValueError("a prompt of more than 100 tokens cannot be embedded")
        if self._task == "score":
            return [[1 / len(prompt)] for prompt in prompts]
        return [[float(len(prompt)), 0.5, -0.25] for prompt in prompts]

    @property
    def state(self) -> EngineState:
        return EngineState(len(self.running), 0, 0.25, 7, 100, 40, 1)

    async def died(self) -> EngineDead:
        await self._dead.wait()
        return EngineDead("exit code -9; its last words: Killed")

    async def stop(self) -> None:
        self._dead.set()
