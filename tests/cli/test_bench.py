"""`motorpool bench llm`."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from motorpool.cli.main import main
from motorpool.modelserver.llm import load
from tests.modelserver.llm.checkpoints import make_checkpoint


@pytest.mark.slow
def test_a_checkpoint_is_served_measured_and_ended(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny")
    words = ["bench", "llm", str(checkpoint), "--streams", "1,3", "--answer-tokens", "8", "-o"]
    result = CliRunner().invoke(main, [*words, "json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["startSeconds"] > 0
    one, three = document["results"]
    assert (one["streams"], one["requests"]) == (1, 2)
    assert (three["streams"], three["requests"]) == (3, 6)
    for each in (one, three):
        assert each["tokens_per_s"] > 0
        assert 0 < each["ttft_ms_p50"] <= each["ttft_ms_p95"]


def test_where_nobody_answers_it_is_said() -> None:
    result = CliRunner().invoke(main, ["bench", "llm", "http://127.0.0.1:1"])
    assert result.exit_code != 0
    assert "127.0.0.1:1: " in result.output


@pytest.mark.parametrize("url", ["https://example.com", "nothing:here", "ftp://x"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises((load.LoadError, ValueError)):
        load.server_of(url, "m")


async def test_an_answer_without_tokens_is_an_error() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(load.LoadError, match="404 Not Found"):
            await load.measure(load.Server("127.0.0.1", port, "m"), load.Work(1, 1, 1, 1))
