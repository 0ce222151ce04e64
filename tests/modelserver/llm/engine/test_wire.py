"""What the engine's process and its owner say to each other."""

from pathlib import Path

import pytest

from motorpool.modelserver.llm.contract import (
    EngineOptions,
    EngineState,
    ModelInfo,
    Sampling,
    Structure,
)
from motorpool.modelserver.llm.engine import wire

OPTIONS = EngineOptions(Path("/models/m"), cache_dir=Path("/cache"), properties={"A": 1})
SAMPLING = Sampling(8, seed=2**62, stop_token_ids=(3,), structure=Structure("choice", "", ("a",)))
INFO = ModelInfo(512, 320, (0, 2), 32, 1024, 2, "generate", 0.25, cached_graph=True)
STATE = EngineState(running=1, waiting=2, kv_cache_usage=0.5, steps=3)


@pytest.mark.parametrize(
    "message",
    [
        wire.Start(OPTIONS),
        wire.Add(1, [1, 2, 3], SAMPLING),
        wire.Cancel(1),
        wire.Embed(2, [[1, 2], [3]]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_owner_says_arrives(message):
    assert list(wire.to_process().feed(wire.frame(message))) == [message]


@pytest.mark.parametrize(
    "message",
    [
        wire.Ready(INFO),
        wire.Refused("no config.json"),
        wire.Step([wire.Event(1, [5], [-0.5], "stop", 5, "")], STATE),
        wire.Vectors(2, [[0.5]]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_process_says_arrives(message):
    assert list(wire.from_process().feed(wire.frame(message))) == [message]


def test_frames_may_come_in_any_pieces():
    messages = [wire.Cancel(number) for number in range(50)]
    data = b"".join(map(wire.frame, messages))
    for size in (1, 3, 7, len(data)):
        frames = wire.to_process()
        pieces = [data[begin : begin + size] for begin in range(0, len(data), size)]
        assert [each for piece in pieces for each in frames.feed(piece)] == messages


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x01\x00\x00\x00\xc1"])
def test_what_is_no_frame_is_an_error(data):
    with pytest.raises(wire.WireError):
        list(wire.to_process().feed(data))
