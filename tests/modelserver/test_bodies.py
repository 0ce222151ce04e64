import asyncio
import gzip
import zlib
from types import SimpleNamespace

import pytest

from motorpool.modelserver import bodies
from motorpool.modelserver.errors import InvalidInput, Overloaded, TooLarge


class Chunks:
    """A body as the HTTP server hands it over."""

    def __init__(self, *chunks):
        self.chunks = chunks

    async def __call__(self):
        return b"".join(self.chunks)

    async def __aiter__(self):
        for chunk in self.chunks:
            yield chunk


def scope(length=None):
    return SimpleNamespace(headers={} if length is None else {"content-length": str(length)})


@pytest.mark.parametrize("length", [3, 100_000, None])
async def test_a_body_is_read_whole(length):
    content = b"abc" if length is None else bytes(length)

    with bodies.Bodies().open(scope(length)) as body:
        assert await body.read(Chunks(content[:2], content[2:])) == content


async def test_a_body_that_says_it_is_too_large_is_not_read():
    with (
        bodies.Bodies().open(scope(bodies.BODY_MOST + 1)) as body,
        pytest.raises(TooLarge, match="at most 1073741824 bytes"),
    ):
        await body.read(None)


async def test_a_body_that_grows_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_MOST", 10)

    with bodies.Bodies().open(scope()) as body, pytest.raises(TooLarge):
        await body.read(Chunks(bytes(6), bytes(6)))


async def test_all_bodies_together_are_bounded_and_those_that_end_make_room():
    together = bodies.Bodies()
    half = Chunks(b"")

    with together.open(scope(bodies.BODY_MOST)) as first:
        await first.read(half)
        with together.open(scope(bodies.BODY_MOST)) as second:
            await second.read(half)
            with together.open(scope(1)) as third, pytest.raises(Overloaded):
                await third.read(half)
        with together.open(scope(1)) as fourth:
            assert await fourth.read(half) == b""


class Silence(Chunks):
    async def __call__(self):
        await asyncio.Event().wait()

    async def __aiter__(self):
        await asyncio.Event().wait()
        yield b""


@pytest.mark.parametrize("length", [None, 3, 100_000])
async def test_a_body_that_does_not_come_is_given_up(monkeypatch, length):
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.01)
    monkeypatch.setattr(bodies, "SLOWEST_BYTES_S", 2**30)

    with bodies.Bodies().open(scope(length)) as body, pytest.raises(bodies.TooSlow):
        await body.read(Silence())

    assert not asyncio.current_task().cancelling()


async def test_each_of_several_bodies_has_its_own_time(monkeypatch):
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.05)
    together, ended = bodies.Bodies(), []

    async def read(number):
        with together.open(scope(3)) as body, pytest.raises(bodies.TooSlow):
            await body.read(Silence())
        ended.append(number)

    first = asyncio.create_task(read(1))
    await asyncio.sleep(0.03)
    second = asyncio.create_task(read(2))
    with together.open(scope(3)) as body:
        assert await body.read(Chunks(b"abc")) == b"abc"
    await first
    await second
    # And the clock starts again for one that comes when nobody waits any more.
    await read(3)
    assert ended == [1, 2, 3]


@pytest.mark.parametrize("length", [None, 3, 100_000])
async def test_whoever_waits_for_a_body_can_be_cancelled(length):
    async def read():
        with bodies.Bodies().open(scope(length)) as body:
            await body.read(Silence())

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading


async def unpacked(content, encoding):
    with bodies.Bodies().open(scope(len(content))) as body:
        return await body.read_unpacked(Chunks(content), encoding)


@pytest.mark.parametrize("size", [0, 3, 5_000_000])
@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_packed_body_is_unpacked(encoding, pack, size):
    assert await unpacked(pack(bytes(size)), encoding) == bytes(size)


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (gzip.compress(b"hello", mtime=0)[:-3], "gzip", "it is cut off"),
        (b"hello", "gzip", "incorrect header check"),
        (b"", "gzip", "it is cut off"),
        (b"hello", "br", "Unsupported content encoding - br"),
    ],
)
async def test_what_cannot_be_unpacked_is_told_so(content, encoding, message):
    with pytest.raises(InvalidInput, match=message):
        await unpacked(content, encoding)


async def test_a_small_body_that_grows_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_MOST", 10_000)

    with pytest.raises(TooLarge):
        await unpacked(gzip.compress(bytes(1_000_000)), "gzip")
