"""Text completions: a request -> what is asked of the engine -> documents or events."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from motorpool.modelserver.llm.api import logprobs as probabilities
from motorpool.modelserver.llm.api import model as limits
from motorpool.modelserver.llm.api import responses, sampling
from motorpool.modelserver.llm.api.answer import Piece
from motorpool.modelserver.llm.api.chat import join
from motorpool.modelserver.llm.api.errors import NotSupported, RequestError
from motorpool.modelserver.llm.api.generation import Ask, Generator
from motorpool.modelserver.llm.api.model import Model
from motorpool.modelserver.llm.api.requests import CompletionRequest, prompts
from motorpool.modelserver.llm.api.streaming import Head, Usage, event
from motorpool.modelserver.llm.api.structure import structure

MAX_TOKENS_DEFAULT = 16
PROMPTS_MAX = 256
ANSWERS_MAX = 1024  # of all prompts together


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that is found to be right."""

    request: CompletionRequest
    head: Head
    asks: tuple[Ask, ...]  # of all prompts, the answers of one beside each other
    echoed: tuple[str, ...]  # for each ask
    prompt_tokens: int
    logprobs: probabilities.Tokens | None
    only_echo: bool


def plan(request: CompletionRequest, model: Model, head: Head) -> Plan:
    """Raises RequestError."""
    _check(request)
    given = prompts(request.prompt)
    if len(given) > PROMPTS_MAX:
        raise RequestError(f"at most {PROMPTS_MAX} prompts are taken, got {len(given)}", "prompt")
    only_echo = bool(request.echo) and request.max_tokens == 0
    asks: list[Ask] = []
    echoed: list[str] = []
    tokens = 0
    for prompt in given:
        ids = _tokens(prompt, request, model)
        tokens += len(ids)
        some = _asks(request, model, ids, head, len(asks), only_echo=only_echo)
        asks += some
        text = prompt if isinstance(prompt, str) else model.tokenizer.decode(ids)
        echoed += [text if request.echo else ""] * len(some)
        if len(asks) > ANSWERS_MAX:
            raise RequestError(f"at most {ANSWERS_MAX} answers are given to one request", "n")
    as_ids = request.return_tokens_as_token_ids
    shown = None
    if request.logprobs is not None:
        shown = probabilities.Tokens(
            model.tokenizer,
            as_ids=model.settings.return_tokens_as_token_ids if as_ids is None else as_ids,
            top=request.logprobs,
        )
    return Plan(request, head, tuple(asks), tuple(echoed), tokens, shown, only_echo)


def _check(request: CompletionRequest) -> None:
    if request.suffix:
        raise NotSupported("suffix is not currently supported", "suffix")
    if request.echo and request.logprobs is not None:
        raise NotSupported(
            "echo with logprobs needs the probabilities of the prompt, "
            "which this engine does not give",
            "logprobs",
        )
    if request.stream_options is not None and not request.stream:
        raise RequestError("Stream options can only be defined when `stream=True`.")
    if request.prompt_embeds:
        raise NotSupported("prompt_embeds is not supported by this engine", "prompt_embeds")


def _tokens(prompt: str | list[int], request: CompletionRequest, model: Model) -> list[int]:
    if isinstance(prompt, str):
        ids = model.tokenizer.encode(prompt, add_special_tokens=request.add_special_tokens)
    else:
        ids = prompt
    model.check_tokens(ids)
    return limits.truncated(ids, request.truncate_prompt_tokens, model.max_model_len)


def _asks(
    request: CompletionRequest,
    model: Model,
    ids: list[int],
    head: Head,
    number: int,
    *,
    only_echo: bool,
) -> list[Ask]:
    wanted = request.max_tokens
    if wanted is None and head.generation != "ovms":
        wanted = MAX_TOKENS_DEFAULT
    most = limits.max_tokens(
        1 if only_echo else wanted, len(ids), model.max_model_len, model.defaults.max_new_tokens
    )
    first = sampling.sampling(
        request,
        model.defaults,
        max_tokens=most,
        seed=model.seed(),
        logprobs=request.logprobs is not None,
        structure=structure(request),
    )
    if request.logprobs is not None:
        probabilities.check(request.logprobs, first, "logprobs")
    reading = model.reading(
        sampling.stops(request),
        include_stop=request.include_stop_str_in_output,
        skip_special_tokens=request.skip_special_tokens,
    )
    answers = sampling.answers(first, sampling.count(request))
    return [Ask(f"{head.id}-{number + i}", ids, each, reading) for i, each in enumerate(answers)]


async def completion(plan: Plan, generator: Generator) -> dict[str, Any]:
    """Raises RequestError."""
    wholes = [Piece("") for _ in plan.asks]
    if plan.only_echo:
        wholes = [Piece("", finish="length") for _ in plan.asks]
    else:
        async with aclosing(generator.run(plan.asks)) as batches:
            async for batch in batches:
                for number, piece in batch:
                    join(wholes[number], piece)
    choices = [
        responses.text_choice(
            number,
            plan.echoed[number] + whole.text,
            _logprobs(plan, whole, 0),
            (whole.finish, whole.stop_reason),
        )
        for number, whole in enumerate(wholes)
    ]
    used = responses.usage(plan.prompt_tokens, sum(len(whole.ids) for whole in wholes))
    return responses.text(plan.head.generation, plan.head.fields, choices, used)


async def stream(plan: Plan, generator: Generator, usage: Usage) -> AsyncGenerator[bytes, None]:
    """Events; each item is one write. Raises RequestError."""
    usage.prompt_tokens = plan.prompt_tokens
    lengths = [0] * len(plan.asks)  # characters of text of each answer
    echoed = [*plan.echoed]
    if plan.only_echo:
        for number, text in enumerate(plan.echoed):
            yield _chunk(plan, usage, number, Piece(text, finish="length"), None)
    else:
        async with aclosing(generator.run(plan.asks)) as batches:
            async for batch in batches:
                written = bytearray()
                for number, piece in batch:
                    usage.completion_tokens += len(piece.ids)
                    logprobs = _logprobs(plan, piece, lengths[number])
                    lengths[number] += len(piece.text)
                    piece.text = echoed[number] + piece.text
                    echoed[number] = ""
                    if piece.text or piece.finish or logprobs:
                        written += _chunk(plan, usage, number, piece, logprobs)
                if written:
                    yield bytes(written)
    if usage.include:
        yield event(plan.head.document("text_completion", []) | {"usage": usage.document()})


def _logprobs(plan: Plan, piece: Piece, offset: int) -> dict[str, Any] | None:
    if plan.logprobs is None or not piece.ids:
        return None
    return plan.logprobs.text(piece.ids, piece.logprobs, offset)


def _chunk(
    plan: Plan, usage: Usage, number: int, piece: Piece, logprobs: dict[str, Any] | None
) -> bytes:
    ended = piece.finish, piece.stop_reason
    choice = responses.text_choice(number, piece.text, logprobs, ended)
    made = plan.head.document("text_completion", [choice])
    if plan.head.generation == "ovms":
        del choice["stop_reason"]
        return event(made | {"usage": None} if usage.include else made)
    return event(made | {"usage": usage.document() if usage.continuous else None})
