"""What a model says -> the items of a response, and the response around them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from motorpool.modelserver.llm.api.respond.request import ResponsesRequest
from motorpool.modelserver.llm.api.sampling import Defaults
from motorpool.modelserver.llm.api.streaming import Head

Item = dict[str, Any]
Logprobs = Sequence[Mapping[str, Any]] | None


def message(id: str, text: str, logprobs: Logprobs, status: str = "completed") -> Item:
    return {
        "id": id,
        "content": [output_text(text, logprobs)],
        "role": "assistant",
        "status": status,
        "type": "message",
    }


def output_text(text: str, logprobs: Logprobs) -> Item:
    shown = None if logprobs is None else list(logprobs)
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": shown}


def reasoning(id: str, text: str) -> Item:
    return {
        "id": id,
        "summary": [],
        "type": "reasoning",
        "content": [{"text": text, "type": "reasoning_text"}],
        "encrypted_content": None,
        "status": None,
    }


def call(id: str, call_id: str, name: str, arguments: str, status: str = "completed") -> Item:
    return {
        "arguments": arguments,
        "call_id": call_id,
        "name": name,
        "type": "function_call",
        "id": id,
        "status": status,
    }


def of_choice(head: Head, choice: Mapping[str, Any]) -> list[Item]:
    """*choice* is a chat completion's."""
    said = choice["message"]
    made: list[Item] = []
    if thoughts := said.get("reasoning_content") or said.get("reasoning"):
        made.append(reasoning(id_of(head, "rs", len(made)), thoughts))
    if said["content"]:
        logprobs = (choice["logprobs"] or {}).get("content")
        made.append(message(id_of(head, "msg", len(made)), said["content"], logprobs))
    for each in said.get("tool_calls") or ():
        function = each["function"]
        made.append(
            call(id_of(head, "fc", len(made)), each["id"], function["name"], function["arguments"])
        )
    return made


def id_of(head: Head, kind: str, place: int) -> str:
    return f"{kind}_{head.random(0, place)}"


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt_tokens + completion_tokens,
    }


def response(
    head: Head,
    request: ResponsesRequest,
    defaults: Defaults,
    output: Sequence[Item] = (),
    *,
    status: str = "in_progress",
    used: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {
        "id": head.id,
        "created_at": head.created,
        "error": None,
        "incomplete_details": cut,
        "instructions": request.instructions,
        "metadata": request.metadata,
        "model": head.model,
        "object": "response",
        "output": list(output),
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "temperature": _or(request.temperature, defaults.temperature),
        "tool_choice": request.tool_choice,
        "tools": request.tools,
        "top_p": _or(request.top_p, defaults.top_p),
        "background": False,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "previous_response_id": None,
        "prompt": None,
        "reasoning": request.reasoning,
        "service_tier": request.service_tier,
        "status": status,
        "store": False,
        "text": request.text,
        "top_logprobs": request.top_logprobs,
        "truncation": request.truncation,
        "usage": used,
        "user": request.user,
    }


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
