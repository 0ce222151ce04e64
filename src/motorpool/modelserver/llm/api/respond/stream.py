"""A response, whole or as the events that OpenAI's clients read.

Rules:
  1. One item is open at a time; the next begins once the one before is told to be done.
  2. The parts that are told one after the other make up what is told at the end.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec

from motorpool.modelserver.llm.api import chat
from motorpool.modelserver.llm.api.chatstream import ChoiceStream, Delta
from motorpool.modelserver.llm.api.generation import Generator
from motorpool.modelserver.llm.api.respond import items
from motorpool.modelserver.llm.api.respond.request import ResponsesRequest
from motorpool.modelserver.llm.api.sampling import Defaults

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    request: ResponsesRequest
    chat: chat.Plan
    defaults: Defaults

    def document(self, **more: Any) -> dict[str, Any]:
        return items.response(self.chat.head, self.request, self.defaults, **more)


async def whole(plan: Plan, generator: Generator) -> dict[str, Any]:
    """Raises RequestError."""
    answer = await chat.completion(plan.chat, generator)
    (choice,) = answer["choices"]
    used = answer["usage"]
    return plan.document(
        output=items.of_choice(plan.chat.head, choice),
        status=_status(choice["finish_reason"]),
        used=items.usage(used["prompt_tokens"], used["completion_tokens"]),
    )


def _status(finish_reason: str) -> str:
    return "incomplete" if finish_reason == "length" else "completed"


async def stream(plan: Plan, generator: Generator) -> AsyncGenerator[bytes, None]:
    """Each item is one write. Raises RequestError."""
    teller = Teller(plan)
    reader = ChoiceStream(
        plan.chat.reasoner(), plan.chat.choice, 0, plan.chat.head, plan.chat.request
    )
    count = 0
    opening = teller.opening()
    async with aclosing(generator.run(plan.chat.asks)) as batches:
        async for batch in batches:
            written = bytearray()
            for _, piece in batch:
                count += len(piece.ids)
                shown = plan.chat.logprobs
                logprobs = shown.chat(piece.ids, piece.logprobs) if shown and piece.ids else None
                # Not before there is something to tell: what fails until then is a plain error.
                told = [*opening]
                opening = []
                for delta in reader.read(piece, logprobs):
                    told += teller.tell(delta)
                if piece.finish is not None:
                    used = items.usage(plan.chat.prompt_tokens, count)
                    told += teller.ending(_status(piece.finish), used)
                written += b"".join(map(teller.encoded, told))
            if written:
                yield bytes(written)


class Teller:
    """Turns the deltas of one answer into events. Pure."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._number = 0
        self._done: list[items.Item] = []
        self._kind = ""  # of the item that is open; empty where none is
        self._id = ""
        self._text = ""
        self._logprobs: list[Any] | None = None
        self._call: tuple[str, str] = ("", "")  # id and name

    def encoded(self, event: Event) -> bytes:
        numbered = {**event, "sequence_number": self._number}
        self._number += 1
        kind: str = event["type"]
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(numbered))

    def opening(self) -> list[Event]:
        started = self._plan.document()
        return [
            {"type": "response.created", "response": started},
            {"type": "response.in_progress", "response": started},
        ]

    def tell(self, delta: Delta) -> Iterator[Event]:
        fields = delta.fields
        for name in ("reasoning_content", "reasoning"):
            if fields.get(name):
                yield from self._opened("reasoning")
                yield self._added("response.reasoning_text.delta", fields[name], content_index=0)
        logprobs = (delta.logprobs or {}).get("content")
        if fields.get("content") or (logprobs and self._kind == "message"):
            yield from self._opened("message")
            if logprobs is not None:
                self._logprobs = self._logprobs or []
                self._logprobs += logprobs
            yield self._added(
                "response.output_text.delta",
                fields.get("content", ""),
                content_index=0,
                logprobs=logprobs or [],
            )
        for call in fields.get("tool_calls") or ():
            function = call["function"]
            if "name" in function:
                yield from self._closed()
                self._call = call["id"], function["name"]
                yield from self._opened("function_call")
            if function.get("arguments"):
                yield self._added("response.function_call_arguments.delta", function["arguments"])

    def ending(self, status: str, used: dict[str, Any]) -> Iterator[Event]:
        yield from self._closed()
        ended = self._plan.document(output=self._done, status=status, used=used)
        # By that name also where it was cut off, as vLLM's: clients wait for it.
        yield {"type": "response.completed", "response": ended}

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": len(self._done)}

    def _added(self, kind: str, text: str, **more: Any) -> Event:
        self._text += text
        return {"type": kind, "delta": text, **self._place, **more}

    def _opened(self, kind: str) -> Iterator[Event]:
        if self._kind == kind:
            return
        yield from self._closed()
        self._kind = kind
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        self._id = items.id_of(self._plan.chat.head, prefix, len(self._done))
        item = self._item("in_progress")
        if kind != "function_call":
            item["content"] = []
        yield {
            "type": "response.output_item.added",
            "item": item,
            "output_index": len(self._done),
        }
        if part := self._part():
            yield {
                "type": "response.content_part.added",
                "part": part,
                **self._place,
                "content_index": 0,
            }

    def _closed(self) -> Iterator[Event]:
        """What ends the item that is open, if one is."""
        if not self._kind:
            return
        if self._kind == "function_call":
            yield {
                "type": "response.function_call_arguments.done",
                "arguments": self._text,
                "name": self._call[1],
                **self._place,
            }
        else:
            named = "output_text" if self._kind == "message" else "reasoning_text"
            done = {"type": f"response.{named}.done", "text": self._text, "content_index": 0}
            logprobs = {"logprobs": self._logprobs or []} if self._kind == "message" else {}
            yield {**done, **self._place, **logprobs}
            yield {
                "type": "response.content_part.done",
                "part": self._part(),
                **self._place,
                "content_index": 0,
            }
        item = self._item("completed")
        yield {
            "type": "response.output_item.done",
            "item": item,
            "output_index": len(self._done),
        }
        self._done.append(item)
        self._kind, self._text, self._logprobs = "", "", None

    def _item(self, status: str) -> items.Item:
        if self._kind == "message":
            return items.message(self._id, self._text, self._logprobs, status)
        if self._kind == "reasoning":
            return items.reasoning(self._id, self._text)
        call_id, name = self._call
        return items.call(self._id, call_id, name, self._text, status)

    def _part(self) -> items.Item | None:
        if self._kind == "message":
            return items.output_text(self._text, self._logprobs)
        if self._kind == "reasoning":
            return {"text": self._text, "type": "reasoning_text"}
        return None
