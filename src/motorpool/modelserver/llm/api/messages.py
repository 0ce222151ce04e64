"""The messages of a chat request -> what a chat template reads. Pure.

Copies what it changes. Content parts become text, or stay parts where the template reads them; the
arguments of earlier tool calls, JSON text on the wire, become objects, as templates print them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from motorpool.modelserver.llm.api.errors import NotSupported, RequestError
from motorpool.modelserver.llm.api.templates import ContentFormat

ROLES_CALLING = ("assistant",)
TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
PASSED = ("name", "tool_call_id", "reasoning_content", "reasoning")


def conversation(
    messages: Sequence[Mapping[str, Any]], content_format: ContentFormat
) -> list[dict[str, Any]]:
    """Raises RequestError."""
    return [_message(each, number, content_format) for number, each in enumerate(messages)]


def _message(
    message: Mapping[str, Any], number: int, content_format: ContentFormat
) -> dict[str, Any]:
    path = f"messages[{number}]"
    role = message.get("role")
    if not isinstance(role, str):
        raise RequestError(f"{path}.role: a string is required")
    read: dict[str, Any] = {"role": role}
    read["content"] = _content(message.get("content"), f"{path}.content", content_format)
    for name in PASSED:
        if isinstance(message.get(name), str):
            read[name] = message[name]
    if calls := message.get("tool_calls"):
        if role not in ROLES_CALLING or not isinstance(calls, list):
            raise RequestError(f"{path}.tool_calls: a list, of a message of the assistant")
        read["tool_calls"] = [
            _call(call, f"{path}.tool_calls[{place}]") for place, call in enumerate(calls)
        ]
    return read


def _content(content: Any, path: str, content_format: ContentFormat) -> Any:
    if content is None:
        texts = []
    elif isinstance(content, str):
        texts = [content]
    elif isinstance(content, list):
        texts = [_text(part, f"{path}[{place}]") for place, part in enumerate(content)]
    else:
        raise RequestError(f"{path}: should be a string or a list of parts")
    if content_format == "openai":
        return [{"type": "text", "text": text} for text in texts]
    return "\n".join(texts)


def _text(part: Any, path: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise RequestError(f"{path}: should be an object with a type")
    kind = part.get("type", "text" if "text" in part else None)
    if kind not in TEXT_PARTS:
        raise NotSupported(f"{path}: this model takes text only, and not parts of type '{kind}'")
    text = part.get(TEXT_PARTS[kind])
    if not isinstance(text, str):
        raise RequestError(f"{path}.{TEXT_PARTS[kind]}: a string is required")
    return text


def _call(call: Any, path: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RequestError(f"{path}.function.name: a string is required")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError as error:
            raise RequestError(f"{path}.function.arguments: no valid JSON: {error}") from None
    return {**call, "function": {**function, "arguments": {} if arguments is None else arguments}}
