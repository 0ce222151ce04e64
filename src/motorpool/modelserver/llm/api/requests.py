"""The bodies of requests, as vLLM takes them: bytes -> structs. Pure.

Unknown fields are passed over. What a field's type is wrong with comes as the list of problems
that vLLM's own validation prints, so that clients that show it show something they know.
"""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from motorpool.modelserver.llm.api.errors import InvalidBody

DEPTH_TEXT = "the document is nested too deeply"


class StreamOptions(Struct):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class StructuredOutputs(Struct):
    json: str | dict[str, Any] | bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: Any = None


class SampledRequest(Struct, kw_only=True):
    """What chat and text completions have in common."""

    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = 1
    best_of: int | None = None
    max_tokens: int | None = None
    min_tokens: int | None = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    use_beam_search: bool = False
    skip_special_tokens: bool = True
    prompt_logprobs: int | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    truncate_prompt_tokens: int | None = None
    return_tokens_as_token_ids: bool | None = None
    return_token_ids: bool | None = None
    priority: int = 0
    request_id: str | None = None
    response_format: dict[str, Any] | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: str | dict[str, Any] | bool | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None


class ChatRequest(SampledRequest, kw_only=True):
    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = 0
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    echo: bool = False
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False
    documents: list[dict[str, Any]] | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    include_reasoning: bool = True


Prompt = str | list[str] | list[int] | list[list[int]]


class CompletionRequest(SampledRequest, kw_only=True):
    # msgspec cannot tell lists of strings from lists of numbers: `prompts` reads it.
    prompt: Any = None
    echo: bool | None = False
    logprobs: int | None = None
    suffix: str | None = None
    add_special_tokens: bool = True
    prompt_embeds: Any = None


class EmbeddingRequest(Struct, kw_only=True):
    input: Any | UnsetType = UNSET
    messages: list[dict[str, Any]] | None = None
    model: str | None = None
    encoding_format: str | None = "float"
    dimensions: int | None = None
    truncate_prompt_tokens: int | None = None
    add_special_tokens: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class ScoreRequest(Struct, kw_only=True):
    text_1: str | list[str]
    text_2: str | list[str]
    model: str | None = None
    truncate_prompt_tokens: int | None = None


class RerankRequest(Struct, kw_only=True):
    query: str
    documents: list[str]
    model: str | None = None
    top_n: int = 0  # all
    truncate_prompt_tokens: int | None = None


class TokenizeRequest(Struct, kw_only=True):
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    model: str | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = False
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    tools: list[dict[str, Any]] | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class DetokenizeRequest(Struct, kw_only=True):
    tokens: list[int]
    model: str | None = None


R = TypeVar("R")


def decode(body: bytes, kind: type[R]) -> R:
    """Raises RequestError."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBody(_problem("json_invalid", "", f"JSON decode error: {error}")) from None
    except RecursionError:
        raise InvalidBody(_problem("json_invalid", "", DEPTH_TEXT)) from None
    return convert(document, kind)


def convert(document: Any, kind: type[R]) -> R:
    """Raises RequestError."""
    try:
        # As lenient as vLLM's own models: "1" is a number, 1 is true.
        return msgspec.convert(document, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidBody(problems(str(error))) from None
    except RecursionError:
        raise InvalidBody(_problem("json_invalid", "", DEPTH_TEXT)) from None


_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`(?: - at `\$(?P<at>.*)`)?")
_WRONG = re.compile(r"(?P<message>.*?)(?: - at `\$(?P<at>.*)`)?", re.DOTALL)


def problems(text: str) -> str:
    """msgspec's one problem as the list that the field knows."""
    if match := _MISSING.fullmatch(text):
        return _problem("missing", f"{match['at'] or ''}.{match['field']}", "Field required")
    match = _WRONG.fullmatch(text)
    assert match
    return _problem("value_error", match["at"] or "", match["message"])


def _problem(kind: str, path: str, message: str) -> str:
    location = ("body", *[part for part in re.split(r"[.\[\]]+", path) if part])
    return str([{"type": kind, "loc": location, "msg": message}])


def prompts(prompt: Any, name: str = "prompt") -> list[str | list[int]]:
    """The prompts that a `prompt` or an `input` stands for. Raises RequestError."""
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        if all(_is_token(each) for each in prompt):
            return [prompt]
        if all(isinstance(each, str) for each in prompt):
            return list(prompt)
        if all(isinstance(e, list) and all(_is_token(t) for t in e) for e in prompt):
            return list(prompt)
    raise InvalidBody(
        _problem(
            "value_error",
            name,
            "should be a string, a list of strings, a list of token ids, "
            "or a list of lists of token ids, and not empty",
        ),
        name,
    )


def _is_token(value: Any) -> bool:
    return type(value) is int
