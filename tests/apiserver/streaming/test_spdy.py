"""SPDY frames by value, and both ends against each other."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motorpool.apiserver.streaming import spdy
from motorpool.apiserver.streaming.spdy import Codec, Data, GoingAway, Opened, Ping, Replied, Reset


def test_the_dictionary_is_the_one_of_the_specification():
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_frames_have_the_bytes_of_the_specification():
    assert spdy.data(1, b"hi", is_final=True) == bytes.fromhex("00000001 01000002 6869")
    assert spdy.ping(7) == bytes.fromhex("80030006 00000004 00000007")
    assert spdy.reset(3, spdy.CANCEL) == bytes.fromhex("80030003 00000008 00000003 00000005")
    assert spdy.go_away(5) == bytes.fromhex("80030007 00000008 00000005 00000000")
    opened = Codec().open(1, {"streamtype": "error"}, is_final=True)
    assert opened[:5] == bytes.fromhex("80030001 01")
    assert opened[8:18] == bytes.fromhex("00000001 00000000 0000")


def test_a_payload_is_handed_on_as_it_arrives_and_only_its_end_is_final():
    codec = Codec()
    frame = spdy.data(9, b"abcdef", is_final=True)
    assert codec.feed(frame[:10]) == [Data(9, b"ab", False)]
    assert codec.feed(frame[10:]) == [Data(9, b"cdef", True)]
    assert codec.feed(spdy.data(9, b"", is_final=True)) == [Data(9, b"", True)]


def test_what_it_does_not_know_is_passed_over():
    settings_frame = bytes.fromhex("80030004 00000004 00000000")
    window_update = bytes.fromhex("80030009 00000008 00000001 00001000")
    assert Codec().feed(settings_frame + window_update + spdy.ping(2)) == [Ping(2)]


def test_headers_of_one_connection_share_a_compressor():
    client, server = Codec(), Codec()
    headers = {"streamtype": "data", "port": "8080", "requestid": "0"}
    first, second = (client.open(stream, headers) for stream in (1, 3))
    assert len(second) < len(first)
    assert server.feed(first + second) == [Opened(1, headers, False), Opened(3, headers, False)]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(bytes.fromhex("80020001 00000000"), id="another version"),
        pytest.param(bytes.fromhex("80030001 00ffffff"), id="a control frame of 16 MiB"),
        pytest.param(bytes.fromhex("80030006 00000001 00"), id="a short ping"),
        pytest.param(bytes.fromhex("80030001 0000000c 00000001 00000000 0000 ffff"), id="no zlib"),
    ],
)
def test_what_no_peer_sends_is_an_error(content):
    with pytest.raises(spdy.SpdyError):
        Codec().feed(content)


def test_headers_that_grow_without_bound_are_refused():
    with pytest.raises(spdy.SpdyError, match="headers have more than"):
        Codec().feed(Codec().open(1, {"x": "a" * 10 * spdy.HEADERS_BYTES_MAX}))


def test_header_blocks_that_are_cut_off_are_refused():
    whole = spdy.header_block([("name", "value")])
    for end in range(len(whole)):
        with pytest.raises(spdy.SpdyError):
            spdy.headers_of(whole[:end])


streams = st.integers(1, 2**31 - 1)
headers = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40),
    max_size=5,
)
events = st.lists(
    st.one_of(
        st.builds(Opened, streams, headers, st.booleans()),
        st.builds(Replied, streams, headers, st.booleans()),
        st.builds(Data, streams, st.binary(max_size=300), st.booleans()),
        st.builds(Reset, streams, st.integers(0, 20)),
        st.builds(Ping, streams),
        st.builds(GoingAway, streams),
    ),
    max_size=12,
)


def sent(codec, event):
    match event:
        case Opened(stream, fields, is_final):
            return codec.open(stream, fields, is_final=is_final)
        case Replied(stream, fields, is_final):
            return codec.reply(stream, fields, is_final=is_final)
        case Data(stream, payload, is_final):
            return spdy.data(stream, payload, is_final=is_final)
        case Reset(stream, status):
            return spdy.reset(stream, status)
        case Ping(number):
            return spdy.ping(number)
    return spdy.go_away(event.last_stream)


def joined(found):
    """Pieces of one frame put together again."""
    result = []
    open_piece = False
    for event in found:
        if isinstance(event, Data) and open_piece and result[-1].stream == event.stream:
            result[-1] = Data(event.stream, result[-1].payload + event.payload, event.is_final)
        else:
            result.append(event)
        open_piece = isinstance(event, Data)
    return result


@settings(deadline=None, max_examples=60)
@given(events, st.integers(1, 50))
def test_what_one_end_sends_the_other_end_sees_however_it_is_cut(wanted, size):
    sender, receiver = Codec(), Codec()
    content = b"".join(sent(sender, event) for event in wanted)
    found = []
    for start in range(0, len(content), size):
        found += receiver.feed(content[start : start + size])
    # Neighbouring frames of one stream cannot be told from pieces of one.
    assert joined(found) == joined(wanted)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_any_bytes_give_events_or_an_error(content):
    try:
        found = Codec().feed(content)
    except spdy.SpdyError:
        return
    assert sum(len(e.payload) for e in found if isinstance(e, Data)) <= len(content)
