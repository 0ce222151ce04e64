"""The body of a request for a response -> a request for a chat. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from motorpool.modelserver.llm.api.errors import NotSupported, RequestError
from motorpool.modelserver.llm.api.requests import ChatRequest

LOGPROBS = "message.output_text.logprobs"
NOT_KEPT = "responses are not kept by this server"


class ResponsesRequest(Struct, kw_only=True):
    input: str | list[dict[str, Any]]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = 0
    stream: bool | None = False
    store: bool | None = True
    background: bool | None = False
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool | None = True
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    include: list[str] | None = None
    metadata: dict[str, Any] | None = None
    truncation: str | None = "disabled"
    service_tier: str | None = "auto"
    user: str | None = None
    # vLLM's own.
    request_id: str | None = None
    priority: int = 0
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool = False
    chat_template_kwargs: dict[str, Any] | None = None


class NoResponse(RequestError):
    status = 404
    type = "invalid_request_error"

    def __init__(self, id: str) -> None:
        super().__init__(f"Response with id '{id}' not found.")


def chat_request(request: ResponsesRequest) -> ChatRequest:
    """Raises RequestError."""
    _check(request)
    shows_logprobs = LOGPROBS in (request.include or ()) or bool(request.top_logprobs)
    return ChatRequest(
        messages=_messages(request),
        model=request.model,
        max_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        min_p=request.min_p,
        repetition_penalty=request.repetition_penalty,
        seed=request.seed,
        stop=request.stop,
        ignore_eos=request.ignore_eos,
        priority=request.priority,
        logprobs=shows_logprobs,
        top_logprobs=request.top_logprobs if shows_logprobs else 0,
        tools=[_tool(each, place) for place, each in enumerate(request.tools)] or None,
        tool_choice=_choice(request.tool_choice) if request.tools else None,
        parallel_tool_calls=request.parallel_tool_calls,
        response_format=_format(request.text),
        reasoning_effort=(request.reasoning or {}).get("effort"),
        chat_template_kwargs=request.chat_template_kwargs,
    )


def _check(request: ResponsesRequest) -> None:
    if request.previous_response_id is not None:
        raise NoResponse(request.previous_response_id)
    if request.background:
        raise NotSupported(f"background mode is not supported: {NOT_KEPT}", "background")
    if request.conversation is not None:
        raise NotSupported(f"conversation is not supported: {NOT_KEPT}", "conversation")
    if request.prompt is not None:
        raise NotSupported("prompt template is not supported", "prompt")


def _messages(request: ResponsesRequest) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if request.instructions is not None:
        made.append({"role": "system", "content": request.instructions})
    if isinstance(request.input, str):
        return [*made, {"role": "user", "content": request.input}]
    for place, item in enumerate(request.input):
        kind = item.get("type", "message" if "role" in item else None)
        if kind == "message":
            role = item.get("role")
            # The name that newer models have for the system's part.
            named = "system" if role == "developer" else role
            made.append({"role": named, "content": item.get("content")})
        elif kind == "function_call":
            _join_call(made, item)
        elif kind == "function_call_output":
            made.append(_output(item, f"input[{place}]"))
        elif kind != "reasoning":  # which no template reads of earlier turns
            raise NotSupported(f"input[{place}]: items of type {kind!r} are not supported", "input")
    return made


def _join_call(made: list[dict[str, Any]], item: Mapping[str, Any]) -> None:
    """Calls in a row, and the words before them, are one message of the assistant."""
    call = {
        "id": item.get("call_id"),
        "type": "function",
        "function": {"name": item.get("name"), "arguments": item.get("arguments")},
    }
    if not made or made[-1]["role"] != "assistant":
        made.append({"role": "assistant", "content": None})
    made[-1].setdefault("tool_calls", []).append(call)


def _output(item: Mapping[str, Any], path: str) -> dict[str, Any]:
    call = item.get("call_id")
    if not isinstance(call, str):
        raise RequestError(f"{path}.call_id: a string is required", "input")
    return {"role": "tool", "tool_call_id": call, "content": item.get("output")}


_OF_FUNCTION = ("name", "description", "parameters", "strict")


def _tool(tool: Mapping[str, Any], place: int) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise NotSupported(
            f"tools[{place}]: tools of type {tool.get('type')!r} are not supported", "tools"
        )
    function = {name: tool[name] for name in _OF_FUNCTION if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _choice(wanted: str | Mapping[str, Any]) -> str | dict[str, Any]:
    if isinstance(wanted, str):
        return wanted
    if wanted.get("type") != "function":
        raise NotSupported(
            f"tool_choice of type {wanted.get('type')!r} is not supported", "tool_choice"
        )
    return {"type": "function", "function": {"name": wanted.get("name")}}


def _format(text: Mapping[str, Any] | None) -> dict[str, Any] | None:
    given = (text or {}).get("format")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise RequestError("text.format: should be an object", "text")
    if given.get("type") != "json_schema":
        return given
    described: Sequence[str] = ("name", "schema", "strict")
    return {
        "type": "json_schema",
        "json_schema": {name: given[name] for name in described if name in given},
    }
