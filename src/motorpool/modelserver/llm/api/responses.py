"""The documents that answers are, as vLLM writes them. Pure.

Fields, their order and which of them are left out: of the 0.10 generation, or the newer one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from motorpool.modelserver.llm.api.errors import Generation
from motorpool.modelserver.llm.api.tools.deltas import Call

Document = dict[str, Any]


def usage(prompt_tokens: int, completion_tokens: int, *, in_chunk: bool = False) -> Document:
    counts: Document = {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
    }
    return counts if in_chunk else counts | {"prompt_tokens_details": None}


def message(
    generation: Generation,
    role: str,
    content: str | None,
    reasoning: str | None,
    calls: Sequence[Document],
) -> Document:
    if generation == "ovms":
        bare: Document = {"content": content or "", "role": role, "tool_calls": list(calls)}
        return bare | ({"reasoning_content": reasoning} if reasoning else {})
    made: Document = {
        "role": role,
        "content": content,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
    }
    if calls or generation == "0.10":
        made["tool_calls"] = list(calls)
    made[reasoning_field(generation)] = reasoning
    return made


def reasoning_field(generation: Generation) -> str:
    return "reasoning" if generation == "0.32" else "reasoning_content"


def tool_call(call: Call, id: str) -> Document:
    return {
        "id": id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def chat_choice(
    generation: Generation,
    index: int,
    message: Document,
    logprobs: Document | None,
    ended: tuple[str, str | int | None],
) -> Document:
    finish_reason, stop_reason = ended
    if generation == "ovms":
        return {
            "finish_reason": finish_reason,
            "index": index,
            "logprobs": logprobs,
            "message": message,
        }
    made = {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
        "stop_reason": stop_reason,
    }
    return made if generation == "0.10" else made | {"token_ids": None}


def chat(
    generation: Generation, head: Mapping[str, Any], choices: Sequence[Document], used: Document
) -> Document:
    """*head*: id, created, model."""
    if generation == "ovms":
        return _bare("chat.completion", head, choices, used)
    made: Document = {
        "id": head["id"],
        "object": "chat.completion",
        "created": head["created"],
        "model": head["model"],
        "choices": list(choices),
        "service_tier": None,
        "system_fingerprint": None,
        "usage": used,
        "prompt_logprobs": None,
    }
    if generation != "0.10":
        made["prompt_token_ids"] = None
    return made | {"kv_transfer_params": None}


def text_choice(
    index: int, text: str, logprobs: Document | None, ended: tuple[str | None, str | int | None]
) -> Document:
    finish_reason, stop_reason = ended
    return {
        "index": index,
        "text": text,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
        "stop_reason": stop_reason,
    }


def text(
    generation: Generation, head: Mapping[str, Any], choices: Sequence[Document], used: Document
) -> Document:
    if generation == "ovms":
        names = ("finish_reason", "index", "logprobs", "text")
        bare = [{name: choice[name] for name in names} for choice in choices]
        return _bare("text_completion", head, bare, used)
    more: Document = {"prompt_logprobs": None}
    if generation != "0.10":
        more = {"token_ids": None, "prompt_logprobs": None, "prompt_token_ids": None}
    return {
        "id": head["id"],
        "object": "text_completion",
        "created": head["created"],
        "model": head["model"],
        "choices": [choice | more for choice in choices],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": used,
        "kv_transfer_params": None,
    }


def _bare(
    kind: str, head: Mapping[str, Any], choices: Sequence[Document], used: Document
) -> Document:
    """OpenVINO Model Server's: in the order of the alphabet, without an id."""
    return {
        "choices": list(choices),
        "created": head["created"],
        "model": head["model"],
        "object": kind,
        "usage": {
            name: used[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        },
    }


def embeddings(head: Mapping[str, Any], vectors: Sequence[Any], prompt_tokens: int) -> Document:
    return _listed(head, "embedding", "embedding", vectors, prompt_tokens)


def pooled(head: Mapping[str, Any], vectors: Sequence[Any], prompt_tokens: int) -> Document:
    return _listed(head, "pooling", "data", vectors, prompt_tokens)


def scores(head: Mapping[str, Any], found: Sequence[float], prompt_tokens: int) -> Document:
    return _listed(head, "score", "score", found, prompt_tokens)


def _listed(
    head: Mapping[str, Any], kind: str, field: str, values: Sequence[Any], prompt_tokens: int
) -> Document:
    return {
        "id": head["id"],
        "object": "list",
        "created": head["created"],
        "model": head["model"],
        "data": [
            {"index": index, "object": kind, field: value} for index, value in enumerate(values)
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }


def ranking(
    head: Mapping[str, Any], ranked: Sequence[tuple[int, str, float]], total_tokens: int
) -> Document:
    return {
        "id": head["id"],
        "model": head["model"],
        "usage": {"total_tokens": total_tokens},
        "results": [
            {"index": index, "document": {"text": text}, "relevance_score": score}
            for index, text, score in ranked
        ],
    }


def model_card(name: str, root: str, created: int, max_model_len: int) -> Document:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": root,
        "parent": None,
        "max_model_len": max_model_len,
        "permission": [
            {
                "id": f"modelperm-{name.encode().hex()[:32]:0<32}",
                "object": "model_permission",
                "created": created,
                "allow_create_engine": False,
                "allow_sampling": True,
                "allow_logprobs": True,
                "allow_search_indices": False,
                "allow_view": True,
                "allow_fine_tuning": False,
                "organization": "*",
                "group": None,
                "is_blocking": False,
            }
        ],
    }
