"""What a generative request may hold at OpenVINO Model Server. Pure.

Each rule has the text of its refusal; what vLLM's rules say besides holds as well.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from motorpool.modelserver.llm.api.errors import NotSupported, RequestError
from motorpool.modelserver.llm.api.requests import RerankRequest

STOPS_MAX = 16
TOP_K_DEFAULT = 40
NOT_JSON = "The file is not valid json - "
REFUSED = (
    "Mediapipe execution failed. MP status - INVALID_ARGUMENT: CalculatorGraph::Run() failed: "
)


class InvalidJson(RequestError):
    status = 412

    def __init__(self, detail: str) -> None:
        super().__init__(NOT_JSON + detail)


def document(body: bytes) -> dict[str, Any]:
    """Raises InvalidJson."""
    try:
        read = msgspec.json.decode(body)
    except RecursionError:
        raise InvalidJson("JSON body exceeds maximum nesting depth") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidJson("Cannot parse JSON body") from None
    if not isinstance(read, dict):
        raise InvalidJson("JSON body must be an object")
    if "model" not in read:
        raise InvalidJson("model field is missing in JSON body")
    if not isinstance(read["model"], str):
        raise InvalidJson("model field is not a string")
    if not isinstance(read.get("stream", False), bool):
        raise InvalidJson("stream field is not a boolean")
    return read


def ranking(request: Mapping[str, Any]) -> RerankRequest:
    """Raises RequestError."""
    if "query" not in request:
        raise RequestError("query field is missing in request")
    if not isinstance(request["query"], str):
        raise RequestError("query is not a string")
    if "documents" not in request:
        raise RequestError("documents field is missing in request")
    documents = request["documents"]
    if not isinstance(documents, list):
        raise RequestError("documents is not an array")
    for name, kind, text in _OF_RANKING:
        value = request.get(name)
        if value is not None and type(value) is not kind:
            raise RequestError(f"{name} {text}")
    top_n = request.get("top_n")
    return RerankRequest(
        query=request["query"],
        documents=_documents(documents, shown=bool(request.get("return_documents"))),
        model=request["model"],
        top_n=len(documents) if top_n is None else max(top_n, 0),
    )


_OF_RANKING: tuple[tuple[str, type, str], ...] = (
    ("top_n", int, "accepts integer values"),
    ("rank_fields", list, "is not an array"),
    ("return_documents", bool, "accepts boolean values"),
    ("max_chunks_per_doc", int, "accepts integer values"),
)


def _documents(given: list[Any], *, shown: bool) -> list[str]:
    if any(not isinstance(each, str | dict) for each in given):
        raise RequestError("documents array element is neither string nor object")
    if len({type(each) for each in given}) > 1:
        raise RequestError("all documents have to be the same type (string or objects)")
    if given and isinstance(given[0], dict):
        for each in given:
            for name in ("title", "text"):
                if name not in each:
                    raise RequestError(f"document {name} field is missing")
                if not isinstance(each[name], str):
                    raise RequestError(f"document {name} field have to be string")
        if shown:
            raise RequestError("document map not supported")
        return [each["text"] for each in given]
    return given


def _number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


Rule = tuple[str, Callable[[Any], bool], str]
_RULES: tuple[Rule, ...] = (
    ("temperature", lambda v: _number(v, 0, 2), "temperature out of range(0.0, 2.0)"),
    ("top_p", lambda v: _number(v, 0, 1) and v > 0, "top_p out of range(0.0, 1.0)"),
    ("min_p", lambda v: _number(v, 0, 1) and v < 1, "min_p out of range [0.0, 1.0)"),
    ("frequency_penalty", lambda v: _number(v, -2, 2), "frequency_penalty out of range(-2.0, 2.0)"),
    ("presence_penalty", lambda v: _number(v, -2, 2), "presence_penalty out of range(-2.0, 2.0)"),
    ("max_tokens", lambda v: type(v) is int and v > 0, "max_tokens value should be greater than 0"),
    (
        "max_completion_tokens",
        lambda v: type(v) is int and v > 0,
        "max_completion_tokens value should be greater than 0",
    ),
    (
        "stop",
        lambda v: isinstance(v, str) or (isinstance(v, list) and len(v) <= STOPS_MAX),
        f"stop array must have no more than {STOPS_MAX} strings",
    ),
    ("seed", lambda v: type(v) is int and 0 <= v < 2**32, "seed is not an unsigned integer"),
)


def checked(request: Mapping[str, Any], *, chat: bool, parses_tools: bool) -> dict[str, Any]:
    """*request* as the vLLM interface takes it. Raises RequestError."""
    for name, holds, text in _RULES:
        value = request.get(name)
        is_echo = name == "max_tokens" and value == 0 and bool(request.get("echo")) and not chat
        if value is not None and not holds(value) and not is_echo:
            raise RequestError(text)
    _check_answers(request)
    _check_stream(request, chat=chat)
    made = dict(request)
    if made.get("top_k") is None:
        made["top_k"] = TOP_K_DEFAULT
    if (
        chat
        and made.get("tools")
        and not parses_tools
        and made.get("tool_choice") in (None, "auto")
    ):
        # Without a parser the tools are shown to the model, and what it says is text.
        made["tool_choice"] = "none"
    return made


def _check_answers(request: Mapping[str, Any]) -> None:
    n, best_of = request.get("n") or 1, request.get("best_of") or 1
    if not (type(n) is int and type(best_of) is int):
        raise RequestError("n and best_of should be integers")
    if n > best_of:
        raise RequestError("n value cannot be greater than best_of")
    if best_of > 1:
        raise NotSupported("best_of is not supported by this engine", "best_of")


def _check_stream(request: Mapping[str, Any], *, chat: bool) -> None:
    options = request.get("stream_options")
    if not request.get("stream"):
        if options is not None:
            raise RequestError("stream_options provided, but stream not set to true")
        return
    if isinstance(options, dict) and set(options) - {"include_usage"}:
        raise RequestError("Found unexpected stream options. Accepted are: include_usage")
    if request.get("logprobs"):
        raise RequestError("logprobs are not supported in streaming mode.")
    if request.get("stop") and request.get("include_stop_str_in_output") is False:
        raise RequestError("include_stop_str_in_output cannot be set to false if streaming is used")
