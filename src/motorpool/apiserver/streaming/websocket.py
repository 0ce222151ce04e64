"""The server's side of RFC 6455: bytes in, messages out. Pure.

Rules: a client's frames are masked and a server's are not; fragments become one message, of at
most `MESSAGE_BYTES_MAX`; no extension is ever agreed on, so every reserved bit is an error.
"""

import base64
import hashlib
from dataclasses import dataclass

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
NORMAL, PROTOCOL_ERROR, TOO_BIG = 1000, 1002, 1009
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
CONTROL_BYTES_MAX = 125

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketError(Exception):
    """What the client must not send; *code* is what the connection is closed with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    opcode: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Frame:
    is_final: bool
    opcode: int
    payload: bytes


def accept_key(key: str) -> str:
    """The answer to ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def frame(opcode: int, *parts: bytes) -> bytes:
    """A whole message as the server sends it."""
    length = sum(map(len, parts))
    if length < 126:
        head = bytes((0x80 | opcode, length))
    elif length < 1 << 16:
        head = bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")
    return b"".join((head, *parts))


def close_frame(code: int = NORMAL, reason: str = "") -> bytes:
    text = reason.encode()[: CONTROL_BYTES_MAX - 2].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big"), text)


class Reader:
    """What a client has sent so far."""

    def __init__(self) -> None:
        self._unread = bytearray()
        self._opcode = 0
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, content: bytes) -> list[Message]:
        """The messages that are complete. Raises WebSocketError."""
        self._unread += content
        messages = []
        while (found := self._frame()) is not None:
            message = self._assembled(found)
            if message is not None:
                messages.append(message)
        return messages

    def _frame(self) -> _Frame | None:
        unread = self._unread
        if len(unread) < 2:
            return None
        first, second = unread[0], unread[1]
        if first & 0x70:
            raise WebSocketError(PROTOCOL_ERROR, "a reserved bit is set")
        if not second & 0x80:
            raise WebSocketError(PROTOCOL_ERROR, "a client's frame must be masked")
        opcode, length, start = first & 0x0F, second & 0x7F, 2
        if length >= 126:
            start += 2 if length == 126 else 8
            if len(unread) < start:
                return None
            length = int.from_bytes(unread[2:start], "big")
        _check(opcode, length, self._size, is_final=bool(first & 0x80))
        end = start + 4 + length
        if len(unread) < end:
            return None
        payload = _unmasked(bytes(unread[start + 4 : end]), bytes(unread[start : start + 4]))
        del unread[:end]
        return _Frame(bool(first & 0x80), opcode, payload)

    def _assembled(self, found: _Frame) -> Message | None:
        if found.opcode >= CLOSE:
            return Message(found.opcode, found.payload)
        if (found.opcode == CONTINUATION) != bool(self._opcode):
            raise WebSocketError(PROTOCOL_ERROR, "a fragment is out of place")
        self._opcode = self._opcode or found.opcode
        self._parts.append(found.payload)
        self._size += len(found.payload)
        if not found.is_final:
            return None
        message = Message(self._opcode, b"".join(self._parts))
        self._opcode, self._size = 0, 0
        self._parts.clear()
        return message


def _check(opcode: int, length: int, before: int, *, is_final: bool) -> None:
    if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        raise WebSocketError(PROTOCOL_ERROR, f"no such opcode: {opcode}")
    if opcode >= CLOSE and (length > CONTROL_BYTES_MAX or not is_final):
        raise WebSocketError(PROTOCOL_ERROR, "a control frame is too long, or in fragments")
    if before + length > MESSAGE_BYTES_MAX:
        raise WebSocketError(TOO_BIG, f"a message has more than {MESSAGE_BYTES_MAX} bytes")


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """As one big number: a hundred times faster than byte by byte."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
