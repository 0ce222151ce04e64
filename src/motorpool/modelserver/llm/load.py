"""How fast a server of vLLM's interface answers: streams of completions over plain sockets.

Each stream sends a prompt of random tokens, reads the answer to its end, and begins again. What is
read is looked at once, when all of it is there, so that measuring costs little beside the server.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

TOKENS = range(10, 290)  # ids that every vocabulary has
_USAGE = re.compile(rb'"completion_tokens":\s*(\d+)')
READ_BYTES = 1 << 16


class LoadError(Exception):
    """The server does not answer, or not with what was asked for."""


@dataclass(frozen=True, slots=True)
class Work:
    """What each of the streams asks for, again and again."""

    streams: int
    prompt_tokens: int
    answer_tokens: int
    requests: int  # in all


@dataclass(slots=True)
class Measured:
    streams: int
    tokens_per_s: float
    ttft_ms_p50: float
    ttft_ms_p95: float
    per_token_ms_p50: float
    requests: int
    seconds: float


@dataclass(slots=True)
class _Times:
    first_s: list[float] = field(default_factory=list)
    per_token_s: list[float] = field(default_factory=list)
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Server:
    host: str
    port: int
    model: str
    key: str = ""


def server_of(url: str, model: str, key: str = "") -> Server:
    """Raises LoadError."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    if parts.scheme not in ("", "http") or not parts.hostname:
        raise LoadError(f"{url}: an address such as http://127.0.0.1:8000 is needed")
    return Server(parts.hostname, parts.port or 80, model, key)


async def first_model(url: str, key: str = "") -> str:
    """The name under which the server's model is asked for. Raises LoadError."""
    at = server_of(url, "", key)
    answer = await _exchange(at, "GET", "/v1/models", b"")
    try:
        return str(json.loads(answer.partition(b"\r\n\r\n")[2])["data"][0]["id"])
    except (ValueError, LookupError, TypeError):
        raise LoadError(f"{url}/v1/models: {answer[:200]!r}") from None


async def measure(server: Server, work: Work, seed: int = 0) -> Measured:
    """Raises LoadError."""
    rng = random.Random(seed)
    bodies = iter([_body(server, work, rng) for _ in range(work.requests)])
    times = _Times()

    async def stream() -> None:
        for body in bodies:
            await _one(server, body, times)

    begun = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(work.streams):
                group.create_task(stream())
    except* (OSError, asyncio.IncompleteReadError) as errors:
        raise LoadError(str(errors.exceptions[0])) from errors
    except* LoadError as errors:
        raise errors.exceptions[0] from None
    seconds = time.perf_counter() - begun
    return Measured(
        streams=work.streams,
        tokens_per_s=round(times.tokens / seconds, 1),
        ttft_ms_p50=round(_share(times.first_s, 0.5) * 1e3, 1),
        ttft_ms_p95=round(_share(times.first_s, 0.95) * 1e3, 1),
        per_token_ms_p50=round(_share(times.per_token_s, 0.5) * 1e3, 2),
        requests=work.requests,
        seconds=round(seconds, 2),
    )


def as_json(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    return [asdict(each) for each in measured]


def _body(server: Server, work: Work, rng: random.Random) -> bytes:
    return json.dumps(
        {
            "model": server.model,
            "prompt": [rng.choice(TOKENS) for _ in range(work.prompt_tokens)],
            "max_tokens": work.answer_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()


async def _one(server: Server, body: bytes, times: _Times) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    begun = time.perf_counter()
    writer.write(_request(server, "POST", "/v1/completions", body))
    parts: list[bytes] = []
    first = 0.0
    try:
        while data := await reader.read(READ_BYTES):
            parts.append(data)
            if not first and b"data: " in data:
                first = time.perf_counter()
    finally:
        writer.close()
    ended = time.perf_counter()
    answer = b"".join(parts)
    used = _USAGE.findall(answer)
    if not first or not used or b"data: [DONE]" not in answer:
        raise LoadError(f"{server.host}:{server.port} answered {answer[:300]!r}")
    tokens = int(used[-1])
    times.tokens += tokens
    times.first_s.append(first - begun)
    times.per_token_s.append((ended - first) / max(1, tokens - 1))


async def _exchange(server: Server, verb: str, path: str, body: bytes) -> bytes:
    try:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(_request(server, verb, path, body))
        answer = await reader.read()
        writer.close()
    except OSError as error:
        raise LoadError(f"{server.host}:{server.port}: {error.strerror or error}") from error
    return answer


def _request(server: Server, verb: str, path: str, body: bytes) -> bytes:
    key = f"Authorization: Bearer {server.key}\r\n" if server.key else ""
    return (
        f"{verb} {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n{key}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + body


def _share(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
