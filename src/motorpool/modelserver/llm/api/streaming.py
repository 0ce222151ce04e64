"""What the events of a stream have in common."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from motorpool.modelserver.llm.api import responses
from motorpool.modelserver.llm.api.errors import Generation
from motorpool.modelserver.llm.api.requests import StreamOptions

DONE = b"data: [DONE]\n\n"
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Head:
    """What every document of one answer begins with."""

    id: str
    created: int
    model: str
    generation: Generation

    @property
    def fields(self) -> dict[str, Any]:
        return {"id": self.id, "created": self.created, "model": self.model}

    def document(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        if self.generation == "ovms":
            # The kind of a piece of text is its own there.
            named = kind if kind.endswith(".chunk") else f"{kind}.chunk"
            return {
                "choices": choices,
                "created": self.created,
                "model": self.model,
                "object": named,
            }
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def random(self, answer: int, call: int) -> str:
        """32 hexadecimal digits for a call; as unlike others as the answer's own id."""
        text = f"{self.id}/{answer}/{call}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class Usage:
    """Tokens so far."""

    include: bool
    continuous: bool
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def document(self) -> dict[str, Any]:
        return responses.usage(self.prompt_tokens, self.completion_tokens, in_chunk=True)


def usage(options: StreamOptions | None, *, force: bool) -> Usage:
    include = force or bool(options and options.include_usage)
    return Usage(include, include and bool(force or (options and options.continuous_usage_stats)))


def event(document: dict[str, Any]) -> bytes:
    return b"data: " + _encoder.encode(document) + b"\n\n"
