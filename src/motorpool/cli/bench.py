"""`motorpool bench`: how fast a server of language models answers."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from motorpool.cli.console import fail

if TYPE_CHECKING:
    from motorpool.modelserver.llm.load import Measured, Work

READY_S = 600.0


@click.group()
def bench() -> None:
    """Measure how fast a server answers."""


@bench.command("llm", epilog="Example:  motorpool bench llm ./Llama-3.2-1B --streams 1,16")
@click.argument("target", metavar="URL|CHECKPOINT")
@click.option("--model", default="", help="The name to ask for [the server's first].")
@click.option("--api-key", default="", envvar="OPENAI_API_KEY", help="Sent as the bearer token.")
@click.option("--streams", default="1,4,16,64", show_default=True, metavar="N,N")
@click.option("--prompt-tokens", type=click.IntRange(1), default=32, show_default=True)
@click.option("--answer-tokens", type=click.IntRange(1), default=128, show_default=True)
@click.option(
    "--requests", type=click.IntRange(1), default=2, show_default=True, help="By each stream."
)
@click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def llm(
    target: str, model: str, api_key: str, streams: str, prompt_tokens: int, answer_tokens: int,
    requests: int, output: str,
) -> None:  # fmt: skip
    """Time to the first token, time per token and tokens per second, of a server or a checkpoint.

    URL is any server with vLLM's interface; for a directory of a checkpoint's files motorpool-llm
    is started, and ended afterwards.
    """
    from motorpool.modelserver.llm.load import LoadError, Work

    try:
        works = [
            Work(int(n), prompt_tokens, answer_tokens, int(n) * requests)
            for n in streams.split(",")
        ]
        with _server(target) as (url, start_s):
            measured = asyncio.run(_measured(url, model, api_key, works))
    except (LoadError, ValueError) as error:
        fail(str(error), hint="give the address of a server, or a directory with a checkpoint")
    _print(measured, start_s, output)


async def _measured(
    url: str, model: str, key: str, works: "list[Work]"
) -> "list[Measured]":  # fmt: skip
    from motorpool.modelserver.llm.load import first_model, measure, server_of

    server = server_of(url, model or await first_model(url, key), key)
    await measure(server, works[0])  # what is made on first use is made
    return [await measure(server, work, seed) for seed, work in enumerate(works, 1)]


def _print(measured: "list[Measured]", start_s: float | None, output: str) -> None:
    from motorpool.modelserver.llm.load import as_json

    if output == "json":
        click.echo(json.dumps({"startSeconds": start_s, "results": as_json(measured)}, indent=2))
        return
    if start_s is not None:
        click.echo(f"ready after {start_s:.2f} s")
    click.echo("STREAMS   TOKENS/S   TTFT P50   TTFT P95   PER TOKEN")
    for each in measured:
        click.echo(
            f"{each.streams:7} {each.tokens_per_s:10.1f} {each.ttft_ms_p50:7.1f} ms "
            f"{each.ttft_ms_p95:7.1f} ms {each.per_token_ms_p50:8.2f} ms"
        )


@contextlib.contextmanager
def _server(target: str) -> Iterator[tuple[str, float | None]]:
    """Its address, and how long it took to start where it was started. Raises LoadError."""
    if not Path(target).exists():
        yield target, None
        return
    from motorpool.modelserver.llm.load import LoadError

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "motorpool.modelserver.llm", "--model", target,
               "--host=127.0.0.1", f"--port={port}", "--served-model-name=bench"]  # fmt: skip
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not _is_ready(port):
            if process.poll() is not None:
                raise LoadError(f"motorpool-llm ended with exit code {process.returncode}")
            if time.monotonic() - begun > READY_S:
                raise LoadError(f"motorpool-llm is not ready after {READY_S:.0f} s")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}", round(time.monotonic() - begun, 3)
    finally:
        process.terminate()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
