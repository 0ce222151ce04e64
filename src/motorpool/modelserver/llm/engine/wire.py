"""What the engine's process and its owner say to each other. Pure: messages in, bytes out.

A frame is four bytes of length, least significant first, and a MessagePack value. The owner's first
message is Start; the process answers with Ready or Refused, and then reports each step in one
frame. Either ends the conversation by closing its end.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from motorpool.modelserver.llm.contract import (
    EngineOptions,
    EngineState,
    FinishReason,
    ModelInfo,
    Sampling,
)

LENGTH_BYTES = 4
FRAME_BYTES_MAX = 256 * 1024 * 1024  # a prompt of a million tokens is 5 MB


class WireError(Exception):
    """The other side sent what is no frame; nothing more can be read from it."""


class Start(msgspec.Struct, tag="start"):
    options: EngineOptions


class Add(msgspec.Struct, tag="add"):
    number: int
    prompt: Sequence[int]
    sampling: Sampling


class Cancel(msgspec.Struct, tag="cancel"):
    number: int


class Embed(msgspec.Struct, tag="embed"):
    number: int
    prompts: Sequence[Sequence[int]]


class Ready(msgspec.Struct, tag="ready"):
    info: ModelInfo


class Refused(msgspec.Struct, tag="refused"):
    """The checkpoint cannot be served."""

    message: str


class Event(msgspec.Struct, array_like=True, gc=False):
    """What came of one generation in a step."""

    number: int
    ids: list[int] = []
    logprobs: list[float] = []
    finish: FinishReason | None = None
    stop_token: int | None = None
    message: str = ""
    is_busy: bool = False  # the error is that too many wait


class Step(msgspec.Struct, tag="step"):
    events: list[Event]
    state: EngineState


class Vectors(msgspec.Struct, tag="vectors"):
    """The answer to Embed; an error where there are none."""

    number: int
    vectors: list[list[float]]
    message: str = ""


ToProcess = Start | Add | Cancel | Embed
FromProcess = Ready | Refused | Step | Vectors
Message = TypeVar("Message")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be sent")


def _typed(wanted: type, value: Any) -> Any:
    return Path(value) if issubclass(wanted, Path) else value


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)


def frame(message: ToProcess | FromProcess) -> bytes:
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


class Frames(Generic[Message]):
    """Bytes as they come in, messages as they are complete."""

    def __init__(self, decode: Callable[[memoryview], Message]) -> None:
        self._decode = decode
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Raises WireError."""
        self._bytes += data
        begin = 0
        while len(self._bytes) - begin >= LENGTH_BYTES:
            body = begin + LENGTH_BYTES
            end = body + int.from_bytes(self._bytes[begin:body], "little")
            if end - body > FRAME_BYTES_MAX:
                raise WireError(f"a frame of {end - body} bytes")
            if len(self._bytes) < end:
                break
            yield self._decoded(bytes(self._bytes[body:end]))
            begin = end
        del self._bytes[:begin]

    def _decoded(self, body: bytes) -> Message:
        try:
            return self._decode(memoryview(body))
        except msgspec.MsgspecError as error:
            raise WireError(str(error)) from error


def to_process() -> Frames[ToProcess]:
    return Frames(msgspec.msgpack.Decoder(ToProcess, dec_hook=_typed).decode)


def from_process() -> Frames[FromProcess]:
    return Frames(msgspec.msgpack.Decoder(FromProcess, dec_hook=_typed).decode)
