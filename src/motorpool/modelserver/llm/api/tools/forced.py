"""Answers whose structure leaves the model no choice: a list of calls, or one call's arguments."""

from motorpool.modelserver.llm.api.tools.deltas import CallArguments, CallStart, Content, Delta
from motorpool.modelserver.llm.api.tools.jsontools import FORCED_LIST, JsonTools


class NamedTool:
    """All of the text is the arguments of *name*."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_started = False

    def feed(self, text: str) -> list[Delta]:
        started: list[Delta] = [] if self._is_started else [CallStart(0, self._name)]
        self._is_started = True
        return [*started, CallArguments(0, text)] if text else started

    def finish(self) -> list[Delta]:
        return []


class RequiredTools:
    """All of the text is a list of calls; what is none, as where it was cut off, is no text."""

    def __init__(self) -> None:
        self._calls = JsonTools(FORCED_LIST)

    def feed(self, text: str) -> list[Delta]:
        return _without_text(self._calls.feed(text))

    def finish(self) -> list[Delta]:
        return _without_text(self._calls.finish())


def _without_text(deltas: list[Delta]) -> list[Delta]:
    return [each for each in deltas if not isinstance(each, Content)]
