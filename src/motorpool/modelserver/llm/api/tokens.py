"""Embeddings, and the tokenizer over HTTP: what needs no generation."""

import base64
import struct
from typing import Any

from motorpool.modelserver.llm.api import model as limits
from motorpool.modelserver.llm.api import responses
from motorpool.modelserver.llm.api.errors import RequestError, engine_dead
from motorpool.modelserver.llm.api.model import Model
from motorpool.modelserver.llm.api.requests import (
    DetokenizeRequest,
    EmbeddingRequest,
    TokenizeRequest,
    prompts,
)
from motorpool.modelserver.llm.api.streaming import Head
from motorpool.modelserver.llm.contract import Engine, EngineDead

INPUTS_MAX = 2048


async def embeddings(
    request: EmbeddingRequest, model: Model, engine: Engine, head: Head
) -> dict[str, Any]:
    """Raises RequestError, EngineFailed."""
    inputs = _inputs(request, model)
    if request.encoding_format not in (None, "float", "base64"):
        raise RequestError("encoding_format: should be 'float' or 'base64'", "encoding_format")
    if request.dimensions is not None:
        raise RequestError(
            f'Model "{model.name}" does not support matryoshka representation, '
            "changing output dimensions will lead to poor results.",
            "dimensions",
        )
    try:
        vectors = await engine.embed(inputs)
    except EngineDead as error:
        raise engine_dead(error) from error
    except ValueError as error:  # the engine's, of what it cannot embed
        raise RequestError(str(error), "input") from error
    encoded: list[Any] = vectors
    if request.encoding_format == "base64":
        encoded = [
            base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            for vector in vectors
        ]
    return responses.embeddings(head.fields, encoded, sum(map(len, inputs)))


def _inputs(request: EmbeddingRequest, model: Model) -> list[list[int]]:
    if request.messages is not None:
        text, _ = model.chat_prompt(request.messages, words=request.chat_template_kwargs)
        given: list[str | list[int]] = [text]
        add_special = bool(request.add_special_tokens)
    else:
        given = prompts(request.input, "input")
        add_special = request.add_special_tokens is not False
    if len(given) > INPUTS_MAX:
        raise RequestError(f"at most {INPUTS_MAX} inputs are taken, got {len(given)}", "input")
    return [_input(each, request, model, add_special_tokens=add_special) for each in given]


def _input(
    given: str | list[int], request: EmbeddingRequest, model: Model, *, add_special_tokens: bool
) -> list[int]:
    if isinstance(given, str):
        ids = model.tokenizer.encode(given, add_special_tokens=add_special_tokens)
    else:
        ids = given
    model.check_tokens(ids)
    ids = limits.truncated(ids, request.truncate_prompt_tokens, model.max_model_len)
    if not ids:
        raise RequestError("The decoder prompt cannot be empty", "input")
    if len(ids) > model.max_model_len:
        raise RequestError(
            f"This model's maximum context length is {model.max_model_len} tokens. However, you "
            f"requested {len(ids)} tokens in the input for embedding generation. "
            "Please reduce the length of the input.",
            "input_tokens",
        )
    return ids


def tokenize(request: TokenizeRequest, model: Model) -> dict[str, Any]:
    """Raises RequestError."""
    if request.messages is not None:
        text, _ = model.chat_prompt(
            request.messages,
            tools=request.tools,
            source=request.chat_template,
            words=request.chat_template_kwargs,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
        )
        add_special = bool(request.add_special_tokens)
    elif request.prompt is not None:
        text, add_special = request.prompt, request.add_special_tokens is not False
    else:
        raise RequestError("prompt: a string, or messages, are required", "prompt")
    ids = model.tokenizer.encode(text, add_special_tokens=add_special)
    strings = [model.tokenizer.token(each) for each in ids] if request.return_token_strs else None
    return {
        "count": len(ids),
        "max_model_len": model.max_model_len,
        "tokens": ids,
        "token_strs": strings,
    }


def detokenize(request: DetokenizeRequest, model: Model) -> dict[str, Any]:
    """Raises RequestError."""
    model.check_tokens(request.tokens)
    return {"prompt": model.tokenizer.decode(request.tokens)}
