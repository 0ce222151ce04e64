"""One request over HTTP on its way, and the reply to it."""

import re
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from motorpool.modelserver import errors as bodyerrors
from motorpool.modelserver.llm.api import errors
from motorpool.modelserver.llm.api.errors import RequestError
from motorpool.modelserver.llm.api.streaming import DONE

JSON_TYPE = "application/json"
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,256}")


class Reply(NamedTuple):
    body: bytes = b""
    status: int = 200
    content_type: str | None = JSON_TYPE


Stream = AsyncGenerator[bytes, None]


@dataclass(slots=True)
class Call:
    scope: Any
    protocol: Any
    id: str  # of the client's choice, or random
    headers: list[tuple[str, str]] = field(default_factory=list)
    is_answered: bool = False
    last_words: bytes = DONE  # of a stream


def send(call: Call, reply: Reply) -> int:
    kind = [("content-type", reply.content_type)] if reply.content_type else []
    call.protocol.response_bytes(reply.status, [*kind, *call.headers], reply.body)
    return reply.status


def request_id(scope: Any) -> str:
    given = scope.headers.get("x-request-id")
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def body_error(error: bodyerrors.InferError) -> RequestError:
    if isinstance(error, bodyerrors.TooLarge):
        return errors.TooLarge(str(error))
    if isinstance(error, bodyerrors.TooSlow):
        return errors.TooSlow(str(error))
    if isinstance(error, bodyerrors.Overloaded):
        return errors.Overloaded(str(error))
    return errors.InvalidBody(str(error))
