"""Chat completions: a request -> what is asked of the engine -> documents or events."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from motorpool.modelserver.llm.api import logprobs as probabilities
from motorpool.modelserver.llm.api import model as limits
from motorpool.modelserver.llm.api import responses, sampling
from motorpool.modelserver.llm.api.answer import Piece
from motorpool.modelserver.llm.api.chatstream import ChoiceStream, Delta
from motorpool.modelserver.llm.api.errors import RequestError
from motorpool.modelserver.llm.api.generation import Ask, Generator
from motorpool.modelserver.llm.api.model import Model
from motorpool.modelserver.llm.api.reasoning import PARSERS, Reasoning
from motorpool.modelserver.llm.api.requests import ChatRequest
from motorpool.modelserver.llm.api.streaming import Head, Usage, event
from motorpool.modelserver.llm.api.structure import structure
from motorpool.modelserver.llm.api.toolchoice import ToolChoice, finished_calls, tool_choice


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that is found to be right."""

    request: ChatRequest
    head: Head
    asks: tuple[Ask, ...]
    choice: ToolChoice
    role: str
    echoed: str
    reasoning: str  # the parser's name; empty where the answer has no thoughts in it
    logprobs: probabilities.Tokens | None

    @property
    def prompt_tokens(self) -> int:
        return len(self.asks[0].prompt)

    def reasoner(self) -> Reasoning | None:
        return PARSERS[self.reasoning]() if self.reasoning else None


def plan(request: ChatRequest, model: Model, head: Head) -> Plan:
    """Raises RequestError."""
    settings = model.settings
    _check(request)
    choice = tool_choice(request, settings)
    prompt, chat = _prompt(request, model, choice)
    most = request.max_completion_tokens or request.max_tokens
    room = limits.max_tokens(most, len(prompt), model.max_model_len, model.defaults.max_new_tokens)
    shape = choice.structure() or structure(request)
    first = sampling.sampling(
        request,
        model.defaults,
        max_tokens=room,
        seed=model.seed(),
        logprobs=bool(request.logprobs),
        structure=shape,
    )
    if request.logprobs:
        probabilities.check(request.top_logprobs or 0, first, "top_logprobs")
    reading = model.reading(
        sampling.stops(request),
        include_stop=request.include_stop_str_in_output,
        skip_special_tokens=request.skip_special_tokens and not choice.reads_special_tokens,
    )
    answers = sampling.answers(first, sampling.count(request))
    role = settings.response_role if request.add_generation_prompt else chat[-1]["role"]
    return Plan(
        request,
        head,
        tuple(Ask(f"{head.id}-{i}", prompt, each, reading) for i, each in enumerate(answers)),
        choice,
        role,
        _echoed(request, chat, role),
        # A structure holds for all of the answer, so that nothing is thought aloud before it.
        settings.reasoning_parser if shape is None else "",
        _tokens(request, model),
    )


def _check(request: ChatRequest) -> None:
    if not request.messages:
        raise RequestError("messages: at least one is required", "messages")
    if request.stream_options is not None and not request.stream:
        raise RequestError("Stream options can only be defined when `stream=True`.")
    if request.top_logprobs and not request.logprobs:
        raise RequestError("when using `top_logprobs`, `logprobs` must be set to true.")


def _prompt(
    request: ChatRequest, model: Model, choice: ToolChoice
) -> tuple[list[int], list[dict[str, Any]]]:
    words = dict(request.chat_template_kwargs or {})
    if request.documents is not None:
        words["documents"] = request.documents
    if request.reasoning_effort is not None:
        words.setdefault("reasoning_effort", request.reasoning_effort)
    text, chat = model.chat_prompt(
        request.messages,
        tools=choice.tools,
        source=request.chat_template,
        words=words,
        add_generation_prompt=request.add_generation_prompt,
        continue_final_message=request.continue_final_message,
    )
    ids = model.tokenizer.encode(text, add_special_tokens=request.add_special_tokens)
    model.check_tokens(ids)
    return limits.truncated(ids, request.truncate_prompt_tokens, model.max_model_len), chat


def _echoed(request: ChatRequest, chat: list[dict[str, Any]], role: str) -> str:
    last = chat[-1]
    is_same = request.echo and last["role"] == role and isinstance(last["content"], str)
    return last["content"] if is_same else ""


def _tokens(request: ChatRequest, model: Model) -> probabilities.Tokens | None:
    if not request.logprobs:
        return None
    as_ids = request.return_tokens_as_token_ids
    return probabilities.Tokens(
        model.tokenizer,
        as_ids=model.settings.return_tokens_as_token_ids if as_ids is None else as_ids,
        top=request.top_logprobs or 0,
    )


async def completion(plan: Plan, generator: Generator) -> dict[str, Any]:
    """Raises RequestError."""
    wholes = [Piece("") for _ in plan.asks]
    async with aclosing(generator.run(plan.asks)) as batches:
        async for batch in batches:
            for number, piece in batch:
                join(wholes[number], piece)
    choices = [_choice(plan, number, whole) for number, whole in enumerate(wholes)]
    used = responses.usage(plan.prompt_tokens, sum(len(whole.ids) for whole in wholes))
    return responses.chat(plan.head.generation, plan.head.fields, choices, used)


def join(whole: Piece, piece: Piece) -> None:
    whole.text += piece.text
    whole.ids += piece.ids
    whole.logprobs += piece.logprobs
    whole.finish, whole.stop_reason = piece.finish, piece.stop_reason


def _choice(plan: Plan, number: int, whole: Piece) -> dict[str, Any]:
    generation = plan.head.generation
    text, thoughts = whole.text, ""
    if reasoner := plan.reasoner():
        first, rest = reasoner.feed(text), reasoner.finish()
        thoughts, text = first.reasoning + rest.reasoning, first.content + rest.content
    found = plan.choice.parse(text)
    calls = finished_calls(found.calls)
    if plan.request.parallel_tool_calls is False:
        calls = calls[:1]
    content = plan.echoed + found.content
    reason = plan.choice.finish_reason(
        whole.finish or "stop", called=bool(calls), is_old=generation == "0.10"
    )
    message = responses.message(
        generation,
        plan.role,
        content if content or not (calls or thoughts) else None,
        (thoughts or None) if plan.request.include_reasoning else None,
        [
            responses.tool_call(call, plan.choice.id(plan.head.random(number, place)))
            for place, call in enumerate(calls)
        ],
    )
    logprobs = plan.logprobs.chat(whole.ids, whole.logprobs) if plan.logprobs else None
    return responses.chat_choice(generation, number, message, logprobs, (reason, whole.stop_reason))


async def stream(plan: Plan, generator: Generator, usage: Usage) -> AsyncGenerator[bytes, None]:
    """Events; each item is one write. Raises RequestError."""
    streams = [
        ChoiceStream(plan.reasoner(), plan.choice, number, plan.head, plan.request)
        for number in range(len(plan.asks))
    ]
    usage.prompt_tokens = plan.prompt_tokens
    async with aclosing(generator.run(plan.asks)) as batches:
        async for batch in batches:
            written = bytearray()
            for number, piece in batch:
                one = streams[number]
                if not one.is_begun:
                    one.is_begun = True
                    opening = one.opening(plan.role, plan.echoed)
                    written += b"".join(_chunk(plan, usage, number, each) for each in opening)
                usage.completion_tokens += len(piece.ids)
                logprobs = _logprobs(plan, piece)
                for delta in one.read(piece, logprobs):
                    written += _chunk(plan, usage, number, delta)
            if written:
                yield bytes(written)
    if usage.include:
        yield event(plan.head.document("chat.completion.chunk", []) | {"usage": usage.document()})


def _logprobs(plan: Plan, piece: Piece) -> dict[str, Any] | None:
    return plan.logprobs.chat(piece.ids, piece.logprobs) if plan.logprobs and piece.ids else None


def _chunk(plan: Plan, usage: Usage, number: int, delta: Delta) -> bytes:
    if plan.head.generation == "ovms":
        return _bare_chunk(plan, usage, number, delta)
    choice: dict[str, Any] = {
        "index": number,
        "delta": delta.fields,
        "logprobs": delta.logprobs,
        "finish_reason": delta.finish_reason,
    }
    if delta.finish_reason is not None:
        choice["stop_reason"] = delta.stop_reason
    if plan.head.generation != "0.10" and "role" not in delta.fields:
        choice["token_ids"] = None
    made = plan.head.document("chat.completion.chunk", [choice])
    return event(made | {"usage": usage.document()} if usage.continuous else made)


def _bare_chunk(plan: Plan, usage: Usage, number: int, delta: Delta) -> bytes:
    """OpenVINO Model Server's."""
    fields = delta.fields
    if "role" in fields:
        fields = {"role": fields["role"], "content": None}
    choice = {
        "index": number,
        "logprobs": delta.logprobs,
        "delta": fields,
        "finish_reason": delta.finish_reason,
    }
    made = plan.head.document("chat.completion.chunk", [choice])
    return event(made | {"usage": None} if usage.include else made)
