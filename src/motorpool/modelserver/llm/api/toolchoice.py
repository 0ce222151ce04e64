"""Whether, and how, a request may have tools called. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from motorpool.modelserver.llm.api import structure
from motorpool.modelserver.llm.api.errors import RequestError
from motorpool.modelserver.llm.api.requests import ChatRequest
from motorpool.modelserver.llm.api.tools import forced, registry
from motorpool.modelserver.llm.api.tools.deltas import Call, Parsed, Parser, parsed
from motorpool.modelserver.llm.contract import Structure
from motorpool.modelserver.llm.flags import Settings

AUTO_NEEDS = (
    '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
)
TOOLS_MAX = 512
_MISTRAL_ID_LENGTH = 9


@dataclass(frozen=True, slots=True)
class ToolChoice:
    kind: Literal["none", "auto", "required", "named"]
    tools: tuple[Mapping[str, Any], ...] = ()
    name: str = ""  # of the tool that is named
    parser: str = ""

    def structure(self) -> Structure | None:
        """What the answer must look like."""
        if self.kind == "required":
            return structure.of_tools(self.tools)
        if self.kind == "named":
            (tool,) = (each for each in self.tools if each["function"]["name"] == self.name)
            return structure.of_tool(tool)
        return None

    def reader(self) -> Parser | None:
        """Of one answer; None where all of it is text."""
        match self.kind:
            case "none":
                return None
            case "auto":
                return registry.PARSERS[self.parser](self.tools)
            case "required":
                return forced.RequiredTools()
            case "named":
                return forced.NamedTool(self.name)

    @property
    def reads_special_tokens(self) -> bool:
        return self.kind == "auto" and self.parser in registry.READ_SPECIAL_TOKENS

    def parse(self, text: str) -> Parsed:
        """Of a whole answer. What is no call that a client could read is text."""
        reader = self.reader()
        if reader is None:
            return Parsed(text)
        found = parsed(reader, text)
        is_whole = all(_is_object(call.arguments) for call in found.calls)
        # A forced answer that was cut off is still the beginning of a call.
        return found if is_whole or self.kind in ("required", "named") else Parsed(text)

    def id(self, random: str) -> str:
        """Of a call; *random* is 32 hexadecimal digits."""
        return (
            random[:_MISTRAL_ID_LENGTH] if self.parser == "mistral" else f"chatcmpl-tool-{random}"
        )

    def finish_reason(self, reason: str, *, called: bool, is_old: bool) -> str:
        if not called or (self.kind == "named" and is_old):
            return reason
        return "tool_calls"


def finished_calls(calls: Sequence[Call]) -> list[Call]:
    """Calls without arguments have an empty object of them."""
    return [Call(each.name, each.arguments or "{}") for each in calls]


def tool_choice(request: ChatRequest, settings: Settings) -> ToolChoice:
    """Raises RequestError."""
    tools = tuple(_checked(request.tools or ()))
    wanted = request.tool_choice
    if not tools:
        # An empty list is one that nothing is chosen of.
        if wanted not in (None, "none") and request.tools is None:
            raise RequestError("When using `tool_choice`, `tools` must be set.", "tool_choice")
        return ToolChoice("none")
    if isinstance(wanted, dict):
        return ToolChoice("named", tools, _named(wanted, tools), settings.tool_call_parser)
    if wanted in (None, "auto"):
        if not (settings.enable_auto_tool_choice and settings.tool_call_parser):
            raise RequestError(AUTO_NEEDS)
        return ToolChoice("auto", tools, parser=settings.tool_call_parser)
    if wanted == "required":
        return ToolChoice("required", tools, parser=settings.tool_call_parser)
    if wanted == "none":
        return ToolChoice("none", () if settings.exclude_tools_when_tool_choice_none else tools)
    raise RequestError(
        f"Invalid value for `tool_choice`: {wanted}! Only named tools, "
        '"none", "auto" or "required" are supported.',
        "tool_choice",
    )


def _checked(tools: Sequence[Any]) -> list[Mapping[str, Any]]:
    if len(tools) > TOOLS_MAX:
        raise RequestError(f"at most {TOOLS_MAX} tools are taken, got {len(tools)}", "tools")
    for number, tool in enumerate(tools):
        function = tool.get("function")
        path = f"tools[{number}]"
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            raise RequestError(f"{path}: should be a function", "tools")
        name = function.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[^\s\"\\\x00-\x1f]{1,256}", name):
            raise RequestError(f"{path}.function.name: a name is required", "tools")
        if not isinstance(function.get("parameters"), dict | None):
            raise RequestError(f"{path}.function.parameters: should be a JSON schema", "tools")
    return list(tools)


def _named(wanted: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> str:
    function = wanted.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if wanted.get("type", "function") != "function" or not isinstance(name, str):
        raise RequestError(
            "Incorrectly formatted `tool_choice`. Should be like "
            '`{"type": "function", "function": {"name": "my_function"}}`',
            "tool_choice",
        )
    if name not in {tool["function"]["name"] for tool in tools}:
        raise RequestError(
            "The tool specified in `tool_choice` does not match any of the specified `tools`",
            "tool_choice",
        )
    return name


def _is_object(text: str) -> bool:
    try:
        return not text or isinstance(json.loads(text), dict | None)
    except ValueError:
        return False
