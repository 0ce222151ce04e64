"""Which steps are reported at once, and which with the next ones. Pure: the time comes in.

A small model takes a step in a few milliseconds, and each report costs the HTTP process as much for
every stream: at sixteen streams a quarter of the machine, which the engine then lacks. So tokens
are kept for some milliseconds, less than a screen shows. The first tokens of an answer and its last
ones wait for nothing, and where a step takes as long by itself none do.
"""

from motorpool.modelserver.llm.engine.wire import Event

INTERVAL_S = 0.02


class Reports:
    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._held: dict[int, Event] = {}
        self._begun: set[int] = set()
        self._is_urgent = False
        self._reported = self._turned = float("-inf")

    def add(self, events: list[Event]) -> None:
        for event in events:
            number = event.number
            if number not in self._begun or event.finish is not None:
                self._is_urgent = True
            if event.finish is None:
                self._begun.add(number)
            else:
                self._begun.discard(number)
            if held := self._held.get(number):
                held.ids += event.ids
                held.logprobs += event.logprobs
                held.finish, held.stop_token = event.finish, event.stop_token
                held.message = event.message
            else:
                self._held[number] = event

    def forget(self, number: int) -> None:
        """Of a generation that was cancelled; the change is worth a report."""
        self._held.pop(number, None)
        self._begun.discard(number)
        self._is_urgent = True

    def due(self, now: float) -> list[Event] | None:
        """After each step: what to report, or None."""
        step_s, self._turned = now - self._turned, now
        if not self._is_urgent and max(now - self._reported, 2 * step_s) < self._interval_s:
            return None
        self._reported, self._is_urgent = now, False
        events, self._held = list(self._held.values()), {}
        return events
