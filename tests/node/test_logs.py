"""The log writer and reader on files."""

import os
from pathlib import Path

import pytest

from motorpool.api.errors import BadRequest
from motorpool.api.meta import Object
from motorpool.api.streams import LogOptions
from motorpool.node.logs import LogReader, NodeLogs, last_words
from motorpool.node.supervisor import logwriter
from motorpool.node.supervisor.logwriter import LogFile, LogStream, open_pipe


def read(path: Path, tail: int | None = None) -> list[bytes]:
    reader = LogReader(path, tail)
    lines = [line.content for line in rest(reader)]
    reader.close()
    return lines


def rest(reader: LogReader) -> list:
    lines = []
    while reader.has_more():
        lines += reader.read()
    return lines


def write(file: LogFile, *numbers: int) -> None:
    for number in numbers:
        file.append(b"2026-01-01T00:00:00.%09dZ stdout F %d\n" % (number, number))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LogFile, Path]:
    """A log of which ten lines fill a file."""
    monkeypatch.setattr(logwriter, "LOG_BYTES_MAX", 450)
    path = tmp_path / "logs" / "0.log"
    return LogFile(path), path


def test_rotation_keeps_five_files_and_reading_crosses_them(log: tuple[LogFile, Path]) -> None:
    file, path = log
    write(file, *range(100))
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "0.log", "0.log.1", "0.log.2", "0.log.3", "0.log.4",
    ]  # fmt: skip
    lines = [int(line) for line in read(path)]
    assert lines == list(range(lines[0], 100))
    assert len(lines) > 40
    for tail in (0, 1, 9, 25, 1000):
        assert [int(line) for line in read(path, tail)] == lines[
            len(lines) - min(tail, len(lines)) :
        ]


def test_a_reader_goes_on_across_rotations(log: tuple[LogFile, Path]) -> None:
    file, path = log
    write(file, *range(5))
    reader = LogReader(path)
    seen = rest(reader)
    for start in range(5, 65, 6):
        write(file, *range(start, start + 6))
        seen += rest(reader)
    assert [int(line.content) for line in seen] == list(range(65))
    reader.close()


def test_a_reader_waits_for_a_log_that_is_not_there_yet(log: tuple[LogFile, Path]) -> None:
    file, path = log
    reader = LogReader(path, 5)
    assert not reader.has_more()
    write(file, 1)
    assert [line.content for line in rest(reader)] == [b"1"]
    reader.close()


def test_long_lines_are_pieces_that_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    stream = LogStream("stdout", open_pipe(tmp_path / "pipe"), LogFile(path), lambda *_: None)
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)
    os.write(writer, b"x" * 40_000 + b"\nshort\nun")
    while stream.read():
        continue
    os.write(writer, b"finished")
    os.close(writer)
    stream.drain()
    reader = LogReader(path)
    lines = rest(reader)
    assert [line.ends for line in lines] == [False, False, True, True, True]
    assert b"".join(line.content for line in lines[:3]) == b"x" * 40_000
    assert [line.content for line in lines[3:]] == [b"short", b"unfinished"]
    reader.close()
    assert len(read(path, 3)) == 5


def waiting(reason: str) -> Object:
    entry = {"name": "c", "state": {"waiting": {"reason": reason}}, "lastState": {}}
    return {"containerStatuses": [entry]}


@pytest.mark.parametrize(
    ("container", "status", "message"),
    [
        ("", {}, "a container name must be specified for pod p, choose one of: [c d]"),
        ("x", {}, "container x is not valid for pod p"),
        ("c", waiting("ContainerCreating"),
         'container "c" in pod "p" is waiting to start: ContainerCreating'),
        ("c", waiting("ImagePullBackOff"),
         'container "c" in pod "p" is waiting to start: trying and failing to pull image'),
        ("c", waiting("ErrImagePull"),
         'container "c" in pod "p" is waiting to start: image can\'t be pulled'),
        ("c", {"conditions": [{"type": "PodScheduled", "status": "False",
                               "message": "too small"}]},
         'container "c" in pod "p" is waiting to start: no node takes its pod: too small'),
    ],
)  # fmt: skip
async def test_there_are_no_logs_for_a_reason(
    tmp_path: Path, container: str, status: Object, message: str
) -> None:
    pod = {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [{"name": "c"}, {"name": "d"}]},
        "status": status,
    }
    streams = NodeLogs(tmp_path, lambda *_: False)
    with pytest.raises(BadRequest) as caught:
        await anext(streams.logs(pod, container, LogOptions()))
    assert str(caught.value) == message


def test_the_last_words_of_a_container_are_bounded(tmp_path):
    stamp = b"2026-01-01T00:00:00.000000000Z stderr F "
    log = tmp_path / "0.log"
    log.write_bytes(b"".join(stamp + b"line %d\n" % n for n in range(200)))

    words = last_words(log).splitlines()

    assert len(words) == 80
    assert words[-1] == "line 199"
    log.write_bytes(stamp + b"x" * 5000 + b"\n")
    assert len(last_words(log)) == 2048
    assert last_words(tmp_path / "absent.log") == ""
