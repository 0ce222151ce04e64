"""The loop over one pipeline: admit, step, read, report.

What the pipeline does by itself that is not wanted, and what this file does about it:
  1. It takes every request that it is given into the running step, past `max_num_seqs`. So requests
     wait here, first come first served, and are handed over as there is room.
  2. `read()` with nothing to read never returns. So it always follows `can_read()`.
  3. Where it cannot place a sequence in its cache it drops it without an answer (IGNORED). A
     request that would fit by itself goes back to the front of the queue, with what it has said.
  4. Of two requests with one number it loses one. So numbers are given out here, each once.
  5. A token outside of the vocabulary stops everything. So prompts are looked through.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from motorpool.modelserver.llm.contract import EngineState, FinishReason, Sampling
from motorpool.modelserver.llm.engine.memory import Cache, blocks_of
from motorpool.modelserver.llm.engine.prefixes import Prefixes
from motorpool.modelserver.llm.engine.sampling import Unusable
from motorpool.modelserver.llm.engine.wire import Add, Event

RETRIES = 100  # of one generation; a bound to what must not happen, rather than a number of use


class Pipeline(Protocol):
    """What is used of openvino_genai.ContinuousBatchingPipeline."""

    def add_request(self, request_id: int, input_ids: Any, generation_config: Any) -> Any: ...
    def step(self) -> None: ...
    def has_non_finished_requests(self) -> bool: ...
    def get_metrics(self) -> Any: ...


class Translate(Protocol):
    """The engine's own terms for a sampling and how many tokens are still to come."""

    def __call__(self, sampling: Sampling, max_tokens: int) -> Any:
        """Raises Unusable."""
        ...


@dataclass(slots=True)
class _Generation:
    number: int  # the owner's
    prompt: list[int]
    sampling: Sampling
    said: list[int] = field(default_factory=list)
    handle: Any = None
    retries: int = 0

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.said)


@dataclass(frozen=True, slots=True)
class Bounds:
    cache: Cache
    vocab_size: int
    max_num_seqs: int
    max_waiting: int


class Loop:
    """Not for threads: one turns it."""

    def __init__(
        self,
        pipeline: Pipeline,
        bounds: Bounds,
        translate: Translate,
        tensor: Callable[[list[int]], Any],
        prefixes: Prefixes,
    ) -> None:
        self._pipeline = pipeline
        self._bounds = bounds
        self._translate = translate
        self._tensor = tensor
        self._prefixes = prefixes
        self._waiting: OrderedDict[int, _Generation] = OrderedDict()
        self._running: dict[int, _Generation] = {}
        self._requests = 0
        self._steps = 0
        self._events: list[Event] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be done or told."""
        return not (self._running or self._waiting or self._events)

    def add(self, message: Add) -> None:
        generation = _Generation(message.number, list(message.prompt), message.sampling)
        if problem := self._problem(generation):
            self._events.append(Event(message.number, finish="error", message=problem))
        elif len(self._waiting) >= self._bounds.max_waiting:
            busy = f"{len(self._waiting)} requests are waiting already, as many as may"
            self._events.append(Event(message.number, finish="error", message=busy, is_busy=True))
        else:
            self._waiting[message.number] = generation

    def cancel(self, number: int) -> None:
        """Before the next step; of what has ended already there is nothing to cancel."""
        self._waiting.pop(number, None)
        if generation := self._running.pop(number, None):
            generation.handle.cancel()

    def turn(self) -> list[Event]:
        """One step of everything that runs, and what came of it. Raises RuntimeError."""
        self._admit()
        if self._running or self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            self._steps += 1
            self._events += self._read()
        events, self._events = self._events, []
        return events

    def state(self) -> EngineState:
        metrics = self._pipeline.get_metrics() if self._running else None
        return EngineState(
            running=len(self._running),
            waiting=len(self._waiting),
            kv_cache_usage=metrics.cache_usage / 100 if metrics else 0.0,
            steps=self._steps,
            prefix_cache_queries=self._prefixes.queries,
            prefix_cache_hits=self._prefixes.hits,
        )

    def _problem(self, generation: _Generation) -> str:
        """Why it cannot be begun; empty where it can."""
        prompt, longest = generation.prompt, self._bounds.cache.max_model_len
        if not prompt:
            return "the prompt is empty"
        if len(prompt) >= longest:
            return f"the prompt has {len(prompt)} tokens, and {longest - 1} fit the context"
        if min(prompt) < 0 or max(prompt) >= self._bounds.vocab_size:
            return f"the prompt has tokens outside of the vocabulary of {self._bounds.vocab_size}"
        if generation.sampling.max_tokens < 1:
            return "max_tokens must be at least 1"
        return ""

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._bounds.max_num_seqs:
            number, generation = next(iter(self._waiting.items()))
            if self._running and not self._has_room_for(generation):
                break
            del self._waiting[number]
            try:
                self._begin(generation)
            except Unusable as error:
                self._events.append(Event(number, finish="error", message=str(error)))
            else:
                self._running[number] = generation

    def _has_room_for(self, generation: _Generation) -> bool:
        taken = sum(blocks_of(each.tokens) for each in self._running.values())
        return taken + blocks_of(generation.tokens) <= self._bounds.cache.blocks

    def _begin(self, generation: _Generation) -> None:
        """Raises Unusable."""
        room = self._bounds.cache.max_model_len - generation.tokens
        left = min(generation.sampling.max_tokens - len(generation.said), room)
        config = self._translate(generation.sampling, left)
        tokens = [*generation.prompt, *generation.said]
        self._requests += 1
        try:
            generation.handle = self._pipeline.add_request(
                self._requests, self._tensor(tokens), config
            )
        except (RuntimeError, TypeError) as error:
            raise Unusable(_last_line(error)) from error
        if not generation.retries:
            self._prefixes.look_up(generation.prompt)

    def _read(self) -> Iterator[Event]:
        for generation in list(self._running.values()):
            event = self._event_of(generation)
            if event is None:
                continue
            if event.finish:
                del self._running[generation.number]
                self._prefixes.keep([*generation.prompt, *generation.said])
            yield event

    def _event_of(self, generation: _Generation) -> Event | None:
        handle, event, reason = generation.handle, None, 0
        while handle.can_read():
            for output in handle.read().values():
                event = event or Event(generation.number, [], [])
                event.ids += output.generated_ids
                if generation.sampling.logprobs:
                    event.logprobs += output.generated_log_probs
                reason = int(output.finish_reason)
        if event is None:
            return self._silence_of(generation)
        generation.said += event.ids
        if reason:
            event.finish = _FINISHES[reason]
            last = event.ids[-1] if event.ids else -1
            if event.finish == "stop" and last in generation.sampling.stop_token_ids:
                event.stop_token = last
        return event

    def _silence_of(self, generation: _Generation) -> Event | None:
        """No token in this step: it is still reading its prompt, or it has been dropped."""
        status = generation.handle.get_status().name
        if status == "RUNNING":
            return None
        if status != "IGNORED":
            message = f"the engine ended the answer: {status.lower()}"
        elif blocks_of(generation.tokens) > self._bounds.cache.blocks:
            message = f"{generation.tokens} tokens do not fit the cache of keys and values"
        elif generation.retries >= RETRIES:
            message = "the cache of keys and values had no room for too long"
        else:
            del self._running[generation.number]
            generation.handle = None
            generation.retries += 1
            self._waiting[generation.number] = generation
            self._waiting.move_to_end(generation.number, last=False)
            return None
        return Event(generation.number, finish="error", message=message)


_FINISHES: dict[int, FinishReason] = {1: "stop", 2: "length", 3: "stop"}


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
