"""What a request says that its answer must look like -> a `Structure`. Pure.

Three ways of saying it: OpenAI's `response_format`, vLLM's `guided_*` (to 0.11) and its newer
`structured_outputs`. And a fourth: a tool that must be called.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from motorpool.modelserver.llm.api.errors import NotSupported, RequestError
from motorpool.modelserver.llm.api.requests import SampledRequest, StructuredOutputs
from motorpool.modelserver.llm.contract import Structure

SCHEMA_BYTES_MAX = 2**20
CHOICES_MAX = 1024
ONE_KIND = (
    "You can only use one kind of constraints for structured outputs "
    "('json', 'regex', 'choice', 'grammar' or 'json_object')."
)
ANY_OBJECT: dict[str, Any] = {"type": "object"}


def structure(request: SampledRequest) -> Structure | None:
    """Raises RequestError."""
    found = [*_of_format(request.response_format), *_of_options(_options(request))]
    if len(found) > 1:
        raise RequestError(ONE_KIND)
    return found[0] if found else None


def of_tools(tools: Sequence[Mapping[str, Any]]) -> Structure:
    """A list of at least one call: what `tool_choice` required asks for."""
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "enum": [tool["function"]["name"]]},
                "parameters": _parameters(tool),
            },
            "required": ["name", "parameters"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    # Definitions are referred to from the root of the document, so that is where they go.
    definitions: dict[str, Any] = {}
    for tool in tools:
        definitions |= (tool["function"].get("parameters") or {}).get("$defs") or {}
    schema: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"anyOf": calls}}
    return _json(schema | ({"$defs": definitions} if definitions else {}))


def of_tool(tool: Mapping[str, Any]) -> Structure:
    """The arguments of one tool: what a named `tool_choice` asks for."""
    return _json(tool["function"].get("parameters") or ANY_OBJECT)


def _parameters(tool: Mapping[str, Any]) -> dict[str, Any]:
    given = tool["function"].get("parameters") or ANY_OBJECT
    return {name: value for name, value in given.items() if name != "$defs"}


def _options(request: SampledRequest) -> StructuredOutputs:
    if request.structured_outputs is not None:
        return request.structured_outputs
    return StructuredOutputs(
        json=request.guided_json,
        regex=request.guided_regex,
        choice=request.guided_choice,
        grammar=request.guided_grammar,
    )


def _of_format(given: Mapping[str, Any] | None) -> list[Structure]:
    if given is None:
        return []
    kind = given.get("type")
    if kind == "text":
        return []
    if kind == "json_object":
        return [Structure("json_object")]
    if kind == "json_schema":
        described = given.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if not isinstance(schema, dict | bool):
            raise RequestError(
                "response_format.json_schema.schema: an object is required", "response_format"
            )
        return [_json(schema)]
    if kind == "structural_tag":
        raise NotSupported("structural tags are not supported by this engine", "response_format")
    raise RequestError(
        f"response_format.type: should be 'text', 'json_object' or 'json_schema', got {kind!r}",
        "response_format",
    )


def _of_options(given: StructuredOutputs) -> list[Structure]:
    found: list[Structure] = []
    if given.json is not None:
        found.append(_json(given.json))
    if given.regex is not None:
        found.append(Structure("regex", _bounded(given.regex)))
    if given.choice is not None:
        found.append(_choice(given.choice))
    if given.grammar is not None:
        found.append(Structure("grammar", _bounded(given.grammar)))
    if given.json_object:
        found.append(Structure("json_object"))
    if given.structural_tag is not None:
        raise NotSupported("structural tags are not supported by this engine")
    return found


def _choice(choices: Sequence[str]) -> Structure:
    if not 1 <= len(choices) <= CHOICES_MAX or not all(choices):
        raise RequestError(f"choice: a list of 1 to {CHOICES_MAX} strings that are not empty")
    return Structure("choice", choices=tuple(choices))


def _json(schema: Any) -> Structure:
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except ValueError as error:
            raise RequestError(f"Invalid JSON schema: {error}") from None
    if not isinstance(schema, dict | bool):
        raise RequestError("Invalid JSON schema: it should be an object")
    return Structure("json", _bounded(msgspec.json.encode(schema).decode()))


def _bounded(text: str) -> str:
    if not text:
        raise RequestError("structured outputs: an empty constraint")
    if len(text) > SCHEMA_BYTES_MAX:
        raise RequestError(f"structured outputs: larger than {SCHEMA_BYTES_MAX} characters")
    return text
