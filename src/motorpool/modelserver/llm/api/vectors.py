"""What a checkpoint that does not write answers: vectors of texts, and how well texts match.

Two texts match as far as their vectors point the same way; where the checkpoint was trained to read
both at once (a cross-encoder), as far as it says.
"""

import base64
import math
import operator
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from motorpool.modelserver.llm.api import model as limits
from motorpool.modelserver.llm.api import responses
from motorpool.modelserver.llm.api.errors import RequestError, engine_dead
from motorpool.modelserver.llm.api.model import Model
from motorpool.modelserver.llm.api.requests import (
    EmbeddingRequest,
    RerankRequest,
    ScoreRequest,
    prompts,
)
from motorpool.modelserver.llm.api.streaming import Head
from motorpool.modelserver.llm.contract import Engine, EngineDead, Task

INPUTS_MAX = 2048
ENCODINGS = (None, "float", "base64")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Api:
    """One of vLLM's interfaces to models that do not write."""

    name: str
    request: type[Any]
    id: str  # what that of an answer begins with
    tasks: tuple[Task, ...]  # of the models that have it
    answer: Callable[[Any, Model, Engine, Head], Awaitable[Document]]


async def embeddings(
    request: EmbeddingRequest, model: Model, engine: Engine, head: Head
) -> Document:
    """Raises RequestError, EngineFailed."""
    vectors, count = await _encoded(request, model, engine)
    return responses.embeddings(head.fields, vectors, count)


async def pooling(request: EmbeddingRequest, model: Model, engine: Engine, head: Head) -> Document:
    """Raises RequestError, EngineFailed."""
    vectors, count = await _encoded(request, model, engine)
    return responses.pooled(head.fields, vectors, count)


async def score(request: ScoreRequest, model: Model, engine: Engine, head: Head) -> Document:
    """Raises RequestError, EngineFailed."""
    first, second = _texts(request.text_1), _texts(request.text_2)
    if len(first) > 1 and len(first) != len(second):
        raise RequestError("Input lengths must be either 1:1, 1:N or N:N")
    if not first:
        raise RequestError("At least one text element must be given")
    if not second:
        raise RequestError("At least one text_pair element must be given")
    found, count = await _scores(first, second, request.truncate_prompt_tokens, model, engine)
    return responses.scores(head.fields, found, count)


async def rerank(request: RerankRequest, model: Model, engine: Engine, head: Head) -> Document:
    """Raises RequestError, EngineFailed."""
    if not request.documents:
        raise RequestError("At least one text_pair element must be given", "documents")
    found, count = await _scores(
        [request.query], request.documents, request.truncate_prompt_tokens, model, engine
    )
    best = sorted(range(len(found)), key=found.__getitem__, reverse=True)
    if request.top_n > 0:
        best = best[: request.top_n]
    ranked = [(index, request.documents[index], found[index]) for index in best]
    return responses.ranking(head.fields, ranked, count)


async def best_parts(
    query: str, documents: Sequence[str], model: Model, engine: Engine, chunks_max: int
) -> list[float]:
    """How well each of *documents* matches; a long one as its best part does.

    Raises RequestError, EngineFailed.
    """
    if model.info.task == "embed":
        found, _ = await _scores([query], documents, -1, model, engine)
        return found
    most = model.max_model_len
    parts = [model.tokenizer.encode_pairs(query, each, most) for each in documents]
    count = sum(map(len, parts))
    if count > chunks_max:
        raise RequestError(
            f"exceeding max_allowed_chunks after chunking limit: {chunks_max}; actual: {count}"
        )
    pairs = [_fitting(pair, model, "score") for each in parts for pair in each]
    scores = iter(await _embedded(engine, pairs))
    return [max(next(scores)[0] for _ in each) for each in parts]


async def _nothing(request: Any, model: Model, engine: Engine, head: Head) -> Document:
    raise RequestError("no model does")


EMBEDDINGS = Api("Embeddings", EmbeddingRequest, "embd", ("embed",), embeddings)
POOLING = Api("Pooling", EmbeddingRequest, "pool", ("embed",), pooling)
SCORE = Api("Score", ScoreRequest, "score", ("embed", "score"), score)
RERANK = Api("Rerank (Score)", RerankRequest, "rerank", ("embed", "score"), rerank)
CLASSIFICATION = Api("Classification", dict, "classify", (), _nothing)
APIS = {
    "/v1/embeddings": EMBEDDINGS,
    "/pooling": POOLING,
    "/score": SCORE,
    "/v1/score": SCORE,
    "/rerank": RERANK,
    "/v1/rerank": RERANK,
    "/v2/rerank": RERANK,
    "/classify": CLASSIFICATION,
}


async def _encoded(
    request: EmbeddingRequest, model: Model, engine: Engine
) -> tuple[list[Any], int]:
    """The vectors as they were asked for, and how many tokens they are of."""
    inputs = _inputs(request, model)
    if request.encoding_format not in ENCODINGS:
        raise RequestError("encoding_format: should be 'float' or 'base64'", "encoding_format")
    if request.dimensions is not None:
        raise RequestError(
            f'Model "{model.name}" does not support matryoshka representation, '
            "changing output dimensions will lead to poor results.",
            "dimensions",
        )
    vectors: list[Any] = await _embedded(engine, inputs)
    if request.encoding_format == "base64":
        vectors = [
            base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            for vector in vectors
        ]
    return vectors, sum(map(len, inputs))


async def _embedded(engine: Engine, inputs: Sequence[Sequence[int]]) -> list[list[float]]:
    try:
        return await engine.embed(inputs)
    except EngineDead as error:
        raise engine_dead(error) from error
    except ValueError as error:  # the engine's, of what it cannot embed
        raise RequestError(str(error), "input") from error


def _inputs(request: EmbeddingRequest, model: Model) -> list[list[int]]:
    if request.messages is not None:
        text, _ = model.chat_prompt(request.messages, words=request.chat_template_kwargs)
        given: list[str | list[int]] = [text]
        add_special = bool(request.add_special_tokens)
    else:
        given = prompts(request.input, "input")
        add_special = request.add_special_tokens is not False
    _check_count(len(given), "inputs", "input")
    most = request.truncate_prompt_tokens
    return [_input(each, most, model, add_special_tokens=add_special) for each in given]


def _check_count(count: int, what: str, param: str) -> None:
    if count > INPUTS_MAX:
        raise RequestError(f"at most {INPUTS_MAX} {what} are taken, got {count}", param)


def _input(
    given: str | list[int], most: int | None, model: Model, *, add_special_tokens: bool
) -> list[int]:
    if isinstance(given, str):
        ids = model.tokenizer.encode(given, add_special_tokens=add_special_tokens)
    else:
        ids = given
    model.check_tokens(ids)
    return _fitting(limits.truncated(ids, most, model.max_model_len), model, "embedding generation")


def _fitting(ids: list[int], model: Model, what: str) -> list[int]:
    if not ids:
        raise RequestError("The decoder prompt cannot be empty", "input")
    if len(ids) > model.max_model_len:
        raise RequestError(
            f"This model's maximum context length is {model.max_model_len} tokens. However, you "
            f"requested {len(ids)} tokens in the input for {what}. "
            "Please reduce the length of the input.",
            "input_tokens",
        )
    return ids


def _texts(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


async def _scores(
    first: Sequence[str], second: Sequence[str], most: int | None, model: Model, engine: Engine
) -> tuple[list[float], int]:
    """Of each of *second* with the one of *first*, or the one beside it; and how many tokens."""
    _check_count(len(second), "texts", "text_2")
    if model.info.task == "score":
        firsts = first if len(first) > 1 else [first[0]] * len(second)
        pairs = [_pair(*each, most, model) for each in zip(firsts, second, strict=True)]
        return [value for (value,) in await _embedded(engine, pairs)], sum(map(len, pairs))
    inputs = [_input(each, most, model, add_special_tokens=True) for each in [*first, *second]]
    vectors = await _embedded(engine, inputs)
    places = [(place if len(first) > 1 else 0, len(first) + place) for place in range(len(second))]
    # vLLM counts a pair as one text, with the padding token between the two.
    between = 1 if "pad_token" in model.tokenizer.special_tokens else 0
    count = sum(len(inputs[a]) + between + len(inputs[b]) for a, b in places)
    return [_cosine(vectors[a], vectors[b]) for a, b in places], count


def _pair(first: str, second: str, most: int | None, model: Model) -> list[int]:
    # Checks what is asked for; the second text alone is cut.
    limits.truncated([], most, model.max_model_len)
    length = model.max_model_len if most == -1 else most
    ids = model.tokenizer.encode_pair(first, second, length)
    model.check_tokens(ids)
    return _fitting(ids, model, "score")


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    size = math.sqrt(_product(a, a) * _product(b, b))
    return _product(a, b) / size if size else 0.0


def _product(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(map(operator.mul, a, b))
