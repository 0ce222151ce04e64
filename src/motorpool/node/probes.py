"""Probes: asking a container whether it has started, is alive, is ready.

Rules: until a probe has succeeded once it is asked every 20 ms, growing to 250 ms, so that a server
counts as ready when it is; failures are counted at the given period only. After that the period
rules. The startup probe holds back the other two. A probe speaks to the Pod's own address unless
its manifest names a host.
"""

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from motorpool.api.meta import Object, at

Kind: TypeAlias = Literal["startup", "liveness", "readiness"]

FAST_FIRST_S = 0.02
FAST_GROWTH = 1.5
FAST_MOST_S = 0.25
REDIRECTS_MAX = 5

Execute: TypeAlias = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]
"""Runs a command as the container would: exit code and output."""


class ProbeFailed(Exception):
    """Why, in the words of the kubelet's event."""


@dataclass(frozen=True, slots=True)
class Timing:
    initial_delay_s: float
    period_s: float
    timeout_s: float
    success_threshold: int
    failure_threshold: int


def timing_of(probe: Object) -> Timing:
    return Timing(
        initial_delay_s=float(probe.get("initialDelaySeconds") or 0),
        period_s=float(probe.get("periodSeconds") or 10),
        timeout_s=float(probe.get("timeoutSeconds") or 1),
        success_threshold=int(probe.get("successThreshold") or 1),
        failure_threshold=int(probe.get("failureThreshold") or 3),
    )


@dataclass(frozen=True, slots=True)
class Target:
    """The container that is asked."""

    container: Object
    pod_ip: str
    execute: Execute


async def watch(
    kind: Kind,
    probe: Object,
    target: Target,
    told: Callable[[bool | None, str], None],
    *,
    ready: bool = False,
) -> None:
    """Probes until cancelled; tells when it begins to succeed, and each failure that counts.

    *told* gets True for success, False for a failure at or beyond the threshold, None for one
    below it, and the words of the failure. *ready*: it has succeeded under an agent before this.
    """
    timing = timing_of(probe)
    loop = asyncio.get_running_loop()
    succeeded_once, result = ready, ready
    if not ready:
        await asyncio.sleep(timing.initial_delay_s)
    successes = failures = 0
    fast_s = FAST_FIRST_S
    failure_counts_at = loop.time()
    while True:
        asked_at = loop.time()
        words = await ask(probe, target, timing.timeout_s)
        if not words:
            successes, failures = successes + 1, 0
            succeeded_once = True
            if not result and successes >= timing.success_threshold:
                result = True
                told(True, "")
        else:
            successes = 0
            # A server that comes up refuses a few times: that is no failure before a period.
            period_is_over = loop.time() >= failure_counts_at + timing.period_s
            if kind == "liveness" or succeeded_once or period_is_over:
                failures += 1
                failure_counts_at = loop.time()
                over = failures >= timing.failure_threshold
                result = result and not over
                told(False if over else None, words)
        if result or kind == "liveness":
            delay_s = timing.period_s
        else:
            delay_s = min(fast_s, timing.period_s)
            fast_s = min(FAST_MOST_S, fast_s * FAST_GROWTH)
        await asyncio.sleep(max(0.0, asked_at + delay_s - loop.time()))


async def ask(probe: Object, target: Target, timeout_s: float) -> str:
    """One question. The words of the failure, or ""."""
    try:
        async with asyncio.timeout(timeout_s):
            if "httpGet" in probe:
                await http_get(probe["httpGet"], target)
            elif "tcpSocket" in probe:
                await _tcp(probe["tcpSocket"], target)
            elif "exec" in probe:
                await _exec(probe["exec"].get("command") or [], target)
            elif "grpc" in probe:
                await _grpc(probe["grpc"], target)
            else:
                return "the probe names no handler"
    except TimeoutError:
        return f"timed out after {timeout_s:g}s"
    except ConnectionRefusedError:
        return f"dial tcp {target.pod_ip}: connect: connection refused"
    except (OSError, EOFError, ValueError, ProbeFailed) as error:
        return str(error) or type(error).__name__
    return ""


def port_of(port: object, container: Object) -> int:
    """A number, or the number that a port of the container has by that name."""
    if isinstance(port, int) or str(port).isdigit():
        return int(str(port))
    for declared in container.get("ports") or ():
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise ProbeFailed(f"couldn't find port: {port}")


async def http_get(action: Object, target: Target) -> None:
    """Raises ProbeFailed unless the answer is 2xx or 3xx."""
    host = action.get("host") or target.pod_ip
    port = port_of(action["port"], target.container)
    secure = action.get("scheme") == "HTTPS"
    headers = {h["name"]: h["value"] for h in action.get("httpHeaders") or ()}
    path = action.get("path") or "/"
    for _ in range(REDIRECTS_MAX):
        status, location = await _get(host, port, path, headers, secure=secure)
        if 300 <= status < 400 and location.startswith("/"):
            path = location
            continue
        break
    if not 200 <= status < 400:
        raise ProbeFailed(f"HTTP probe failed with statuscode: {status}")


async def _get(
    host: str, port: int, path: str, headers: Mapping[str, str], *, secure: bool
) -> tuple[int, str]:
    context = _unverified() if secure else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        path = path if path.startswith("/") else f"/{path}"
        given = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.32", "Accept": "*/*"}
        given = {**given, **headers, "Connection": "close"}
        lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in given.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    finally:
        writer.close()
    status = int(head[0].split(" ")[1])
    location = ""
    for line in head[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "location":
            location = value.strip()
    return status, location


@cache
def _unverified() -> ssl.SSLContext:
    """Like the kubelet's: a probe asks whether somebody answers, not who. It knows no authority,
    for those of the system take 25 ms to load.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _tcp(action: Object, target: Target) -> None:
    port = port_of(action["port"], target.container)
    _, writer = await asyncio.open_connection(action.get("host") or target.pod_ip, port)
    writer.close()


async def _exec(command: Sequence[str], target: Target) -> None:
    code, output = await target.execute(command)
    if code != 0:
        raise ProbeFailed(output.strip()[-1024:] or f"command exited with code {code}")


async def _grpc(action: Object, target: Target) -> None:
    """``grpc.health.v1.Health/Check`` over one HTTP/2 connection, as bytes.

    Only the message is read: it says SERVING, or the probe has failed. Header blocks stay unread,
    so no HPACK decoder is needed.
    """
    port = port_of(action["port"], target.container)
    reader, writer = await asyncio.open_connection(target.pod_ip, port)
    try:
        writer.write(_grpc_request(f"{target.pod_ip}:{port}", at(action, "service", default="")))
        while True:
            head = await reader.readexactly(9)
            length = int.from_bytes(head[:3], "big")
            payload = await reader.readexactly(length)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == 0 and stream == 1 and length >= 5:
                break
            if kind == 4 and not flags & 1:
                writer.write(_frame(4, 1, 0, b""))
            elif kind == 7 or (stream == 1 and (kind == 3 or flags & 1)):
                raise ProbeFailed("the server does not implement the grpc health protocol")
    finally:
        writer.close()
    if payload[5:] != b"\x08\x01":
        raise ProbeFailed("service unhealthy (responded with another status than SERVING)")


def _grpc_request(authority: str, service: str) -> bytes:
    name = service.encode()
    message = b"\x0a" + bytes([len(name)]) + name if name else b""
    pairs = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/grpc.health.v1.Health/Check"),
        (b":authority", authority.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
    headers = b"".join(
        b"\x00" + bytes([len(key)]) + key + bytes([len(value)]) + value for key, value in pairs
    )
    body = struct.pack(">BI", 0, len(message)) + message
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _frame(4, 0, 0, b"")
        + _frame(1, 4, 1, headers)
        + _frame(0, 1, 1, body)
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(
        ">I", stream
    ) + payload  # fmt: skip
