"""A checkpoint that turns texts into vectors, in the place of the loop of one that writes."""

from collections.abc import Callable, Sequence

from motorpool.modelserver.llm.contract import EngineState
from motorpool.modelserver.llm.engine.wire import Add, Embed, Event, Vectors

PROMPTS_MAX = 2048  # in one request; nothing else is done meanwhile

Compute = Callable[[Sequence[Sequence[int]]], list[list[float]]]


class Embedder:
    def __init__(self, compute: Compute, max_model_len: int, vocab_size: int) -> None:
        self._compute = compute
        self._max_model_len = max_model_len
        self._vocab_size = vocab_size
        self._events: list[Event] = []
        self._steps = 0

    @property
    def is_idle(self) -> bool:
        return not self._events

    def add(self, message: Add) -> None:
        text = "this checkpoint gives embeddings, and writes no text"
        self._events.append(Event(message.number, finish="error", message=text))

    def cancel(self, number: int) -> None:
        """Nothing is left of a request by the time that its cancellation is read."""

    def turn(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def state(self) -> EngineState:
        return EngineState(running=0, waiting=0, kv_cache_usage=0.0, steps=self._steps)

    def embed(self, message: Embed) -> Vectors:
        """Blocking."""
        if problem := self._problem(message.prompts):
            return Vectors(message.number, [], problem)
        self._steps += 1
        return Vectors(message.number, self._compute(message.prompts))

    def _problem(self, prompts: Sequence[Sequence[int]]) -> str:
        if len(prompts) > PROMPTS_MAX:
            return f"{len(prompts)} texts; {PROMPTS_MAX} at most are taken at once"
        for prompt in prompts:
            if not prompt:
                return "a text has no tokens"
            if len(prompt) > self._max_model_len:
                return f"a text has {len(prompt)} tokens, and {self._max_model_len} fit"
            if min(prompt) < 0 or max(prompt) >= self._vocab_size:
                return f"a text has tokens outside of the vocabulary of {self._vocab_size}"
        return ""
