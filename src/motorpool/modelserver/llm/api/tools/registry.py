"""The tool parsers by the names that vLLM gives them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from motorpool.modelserver.llm.api.tools import jsontools
from motorpool.modelserver.llm.api.tools.deltas import Parser
from motorpool.modelserver.llm.api.tools.jsontools import JsonTools, Marks
from motorpool.modelserver.llm.api.tools.pythonic import Pythonic
from motorpool.modelserver.llm.api.tools.xmltools import Qwen3Coder

Tools = Sequence[Mapping[str, Any]]


def _json(marks: Marks) -> Callable[[Tools], Parser]:
    return lambda tools: JsonTools(marks)


PARSERS: dict[str, Callable[[Tools], Parser]] = {
    "granite": _json(jsontools.GRANITE),
    "granite-20b-fc": _json(jsontools.GRANITE_20B_FC),
    "granite4": _json(jsontools.HERMES),
    "hermes": _json(jsontools.HERMES),
    "jamba": _json(jsontools.JAMBA),
    "llama3_json": _json(jsontools.LLAMA3_JSON),
    "llama4_json": _json(jsontools.LLAMA3_JSON),
    "llama4_pythonic": lambda tools: Pythonic(),
    "mistral": _json(jsontools.MISTRAL),
    "phi4_mini_json": _json(jsontools.PHI4_MINI_JSON),
    "pythonic": lambda tools: Pythonic(),
    "qwen3_coder": partial(Qwen3Coder),
}
READ_SPECIAL_TOKENS = frozenset(
    {
        "granite",
        "jamba",
        "llama3_json",
        "llama4_json",
        "llama4_pythonic",
        "mistral",
        "granite-20b-fc",
    }
)
"""Whose marks are special tokens of their models, which an answer's text would lack."""
