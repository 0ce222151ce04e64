"""SPDY/3.1 framing, as much as Kubernetes' clients speak: bytes in, events out. Pure.

Frames carry streams; headers are compressed with one zlib stream per direction that starts from a
fixed dictionary. There is no flow control: the clients neither keep windows nor mind that the
server does not.

Rules: the payload of a data frame is handed on piece by piece as it arrives, so no frame is too
long to hold; control frames and what their headers decompress to are bounded.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

CONTROL_BYTES_MAX = 64 * 1024
HEADERS_BYTES_MAX = 64 * 1024
DATA_BYTES_MAX = (1 << 24) - 1
CANCEL, PROTOCOL_ERROR, REFUSED_STREAM = 5, 1, 3

_VERSION = 0x8003
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN = 0x01

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base "
    "content-encoding content-language content-length content-location content-md5 "
    "content-range content-type date etag expect expires from host if-match if-modified-since "
    "if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status "
    "200_OK version HTTP/1.1 url public set-cookie keep-alive origin"
)
_CODES = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = [word.replace("_", " ").encode() for word in _WORDS.split()]
    return b"".join(struct.pack(">I", len(word)) + word for word in words) + _CODES.encode()


DICTIONARY = _dictionary()
"""Of the SPDY/3 specification: what headers usually are."""


class SpdyError(Exception):
    """What no SPDY peer sends: the connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer has opened a stream."""

    stream: int
    headers: Mapping[str, str]
    is_final: bool


@dataclass(frozen=True, slots=True)
class Replied:
    stream: int
    headers: Mapping[str, str]
    is_final: bool


@dataclass(frozen=True, slots=True)
class Data:
    stream: int
    payload: bytes
    is_final: bool


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    number: int


@dataclass(frozen=True, slots=True)
class GoingAway:
    last_stream: int


Event: TypeAlias = Opened | Replied | Data | Reset | Ping | GoingAway


@dataclass(slots=True)
class _Payload:
    """A data frame of which the rest is on its way."""

    stream: int
    left: int
    is_final: bool


@dataclass(slots=True)
class Codec:
    """One connection, either end of it."""

    _unread: bytearray = field(default_factory=bytearray)
    _payload: _Payload | None = None
    _inflater: "zlib._Decompress" = field(
        default_factory=lambda: zlib.decompressobj(zdict=DICTIONARY)
    )
    _deflater: "zlib._Compress" = field(
        default_factory=lambda: zlib.compressobj(level=6, wbits=11, memLevel=1, zdict=DICTIONARY)
    )

    def feed(self, content: bytes) -> list[Event]:
        """What has arrived completely. Raises SpdyError."""
        self._unread += content
        events: list[Event] = []
        while self._take(events):
            continue
        return events

    # What this end sends.

    def open(
        self, stream: int, headers: Mapping[str, str], *, is_final: bool = False
    ) -> bytes:  # fmt: skip
        head = struct.pack(">IIH", stream, 0, 0)
        return _control(_SYN_STREAM, _flags(is_final), head + self._compressed(headers))

    def reply(
        self, stream: int, headers: Mapping[str, str], *, is_final: bool = False
    ) -> bytes:  # fmt: skip
        head = struct.pack(">I", stream)
        return _control(_SYN_REPLY, _flags(is_final), head + self._compressed(headers))

    def _compressed(self, headers: Mapping[str, str]) -> bytes:
        block = header_block(headers.items())
        return self._deflater.compress(block) + self._deflater.flush(zlib.Z_SYNC_FLUSH)

    # What the other end has sent.

    def _take(self, events: list[Event]) -> bool:
        if self._payload is not None:
            return self._take_payload(self._payload, events)
        unread = self._unread
        if len(unread) < 8:
            return False
        first, flags_and_length = struct.unpack_from(">II", unread)
        flags, length = flags_and_length >> 24, flags_and_length & 0xFFFFFF
        if not first & 0x80000000:
            del unread[:8]
            self._payload = _Payload(first, length, bool(flags & _FIN))
            if not length:
                self._payload = None
                events.append(Data(first, b"", bool(flags & _FIN)))
            return True
        if first >> 16 != _VERSION:
            raise SpdyError(f"not SPDY/3: {first >> 16:#x}")
        if length > CONTROL_BYTES_MAX:
            raise SpdyError(f"a control frame has {length} bytes")
        if len(unread) < 8 + length:
            return False
        body = bytes(unread[8 : 8 + length])
        del unread[: 8 + length]
        event = self._event(first & 0xFFFF, bool(flags & _FIN), body)
        if event is not None:
            events.append(event)
        return True

    def _take_payload(self, payload: _Payload, events: list[Event]) -> bool:
        piece = bytes(self._unread[: payload.left])
        if not piece:
            return False
        del self._unread[: len(piece)]
        payload.left -= len(piece)
        is_over = payload.left == 0
        events.append(Data(payload.stream, piece, payload.is_final and is_over))
        if is_over:
            self._payload = None
        return True

    def _event(self, kind: int, is_final: bool, body: bytes) -> Event | None:
        try:
            match kind:
                case 1:
                    [stream] = struct.unpack_from(">I", body)
                    return Opened(stream & 0x7FFFFFFF, self._headers(body[10:]), is_final)
                case 2:
                    [stream] = struct.unpack_from(">I", body)
                    return Replied(stream & 0x7FFFFFFF, self._headers(body[4:]), is_final)
                case 3:
                    stream, status = struct.unpack_from(">II", body)
                    return Reset(stream & 0x7FFFFFFF, status)
                case 6:
                    return Ping(*struct.unpack_from(">I", body))
                case 7:
                    return GoingAway(*struct.unpack_from(">I", body))
                case 8:
                    self._headers(body[4:])  # Keeps the decompressor in step.
        except struct.error as error:
            raise SpdyError(f"a frame of type {kind} is too short") from error
        return None  # SETTINGS, WINDOW_UPDATE and what SPDY/3 has not heard of.

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflater.decompress(block, HEADERS_BYTES_MAX)
        except zlib.error as error:
            raise SpdyError(f"headers: {error}") from error
        if self._inflater.unconsumed_tail:
            raise SpdyError(f"headers have more than {HEADERS_BYTES_MAX} bytes")
        return headers_of(plain)


def data(stream: int, payload: bytes, *, is_final: bool = False) -> bytes:
    """As many frames as the payload needs."""
    pieces = range(0, max(1, len(payload)), DATA_BYTES_MAX)
    return b"".join(
        _data_frame(
            stream, payload[start : start + DATA_BYTES_MAX], is_final and start == pieces[-1]
        )
        for start in pieces
    )


def _data_frame(stream: int, payload: bytes, is_final: bool) -> bytes:
    return struct.pack(">II", stream, _flags(is_final) << 24 | len(payload)) + payload


def reset(stream: int, status: int) -> bytes:
    return _control(_RST_STREAM, 0, struct.pack(">II", stream, status))


def ping(number: int) -> bytes:
    return _control(_PING, 0, struct.pack(">I", number))


def go_away(last_stream: int) -> bytes:
    return _control(_GOAWAY, 0, struct.pack(">II", last_stream, 0))


def header_block(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Before compression."""
    encoded = [(name.lower().encode("latin-1"), value.encode("utf-8")) for name, value in pairs]
    parts = [struct.pack(">I", len(encoded))]
    for pair in encoded:
        for text in pair:
            parts += [struct.pack(">I", len(text)), text]
    return b"".join(parts)


def headers_of(block: bytes) -> dict[str, str]:
    """Of several values for one name the first. Raises SpdyError."""
    texts: list[bytes] = []
    offset = 4
    try:
        [count] = struct.unpack_from(">I", block)
        for _ in range(2 * min(count, len(block))):
            [length] = struct.unpack_from(">I", block, offset)
            offset += 4
            if offset + length > len(block):
                raise SpdyError("headers are cut off")
            texts.append(block[offset : offset + length])
            offset += length
    except struct.error as error:
        raise SpdyError("headers are cut off") from error
    names = (text.decode("latin-1").lower() for text in texts[::2])
    values = (text.partition(b"\0")[0].decode("utf-8", "replace") for text in texts[1::2])
    return dict(zip(names, values, strict=True))


def _control(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">HHI", _VERSION, kind, flags << 24 | len(body)) + body


def _flags(is_final: bool) -> int:
    return _FIN if is_final else 0
