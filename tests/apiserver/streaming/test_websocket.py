"""RFC 6455 by value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorpool.apiserver.streaming import websocket
from motorpool.apiserver.streaming.websocket import Message, Reader, WebSocketError

MASK = bytes.fromhex("37fa213d")


def masked(opcode, payload, *, final=True, mask=MASK):
    """A frame as a client sends it."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 1 << 16:
        size = b"\xfe" + length.to_bytes(2, "big")
    else:
        size = b"\xff" + length.to_bytes(8, "big")
    body = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    return bytes([(0x80 if final else 0) | opcode]) + size + mask + body


def test_the_examples_of_the_specification():
    assert websocket.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert Reader().feed(bytes.fromhex("818537fa213d7f9f4d5158")) == [Message(1, b"Hello")]
    assert websocket.frame(websocket.TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert websocket.frame(websocket.BINARY, b"\1", b"ab") == bytes.fromhex("8203016162")
    assert websocket.frame(2, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert websocket.frame(2, bytes(65536))[:10] == bytes.fromhex("827f0000000000010000")
    assert websocket.close_frame(1000, "bye") == bytes.fromhex("880503e8627965")


def test_fragments_become_one_message_with_a_ping_between_them():
    parts = masked(2, b"ab", final=False) + masked(9, b"?") + masked(0, b"cd")
    assert Reader().feed(parts) == [Message(9, b"?"), Message(2, b"abcd")]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"\x82\x01a", 1002, id="not masked"),
        pytest.param(b"\xc2" + masked(2, b"a")[1:], 1002, id="a reserved bit"),
        pytest.param(masked(3, b"a"), 1002, id="no such opcode"),
        pytest.param(masked(0, b"a"), 1002, id="a continuation of nothing"),
        pytest.param(masked(2, b"a", final=False) + masked(2, b"b"), 1002, id="begun twice"),
        pytest.param(masked(9, b"a", final=False), 1002, id="a ping in fragments"),
        pytest.param(masked(9, bytes(126)), 1002, id="a long ping"),
        pytest.param(b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1009, id="a terabyte"),
    ],
)
def test_what_a_client_must_not_send_closes_the_connection(content, code):
    with pytest.raises(WebSocketError) as raised:
        Reader().feed(content)
    assert raised.value.code == code


def test_fragments_together_are_bounded():
    reader = Reader()
    piece = masked(0, b"", final=False)[:1] + b"\xff" + (9 << 20).to_bytes(8, "big") + bytes(4)
    reader.feed(masked(2, b"", final=False) + piece + bytes(9 << 20))
    with pytest.raises(WebSocketError, match="more than"):
        reader.feed(piece)


@given(st.lists(st.binary(max_size=400), max_size=5), st.binary(min_size=4, max_size=4))
def test_messages_arrive_as_they_were_sent_however_they_are_cut(payloads, mask):
    reader = Reader()
    content = b"".join(masked(2, payload, mask=mask) for payload in payloads)
    found = [
        message for n in range(0, len(content), 7) for message in reader.feed(content[n : n + 7])
    ]
    assert [message.payload for message in found] == payloads
