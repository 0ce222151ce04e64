"""HTTP between a client and a server as it is on bad days: each fault happens once, in order."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import httpx


@dataclass
class Fault:
    name: str
    matches: Callable[[httpx.Request], bool]
    answer: Callable[..., object]


class Faulty(httpx.AsyncBaseTransport):
    def __init__(self, inner, faults=(), chance=None):
        self._inner = inner
        self.waiting = list(faults)
        self.met = []
        self.requests = []
        self._chance = chance  # gives a fault for a request now and then, or None

    async def handle_async_request(self, request):
        self.requests.append(request)
        for fault in self.waiting:
            if fault.matches(request):
                self.waiting.remove(fault)
                return await self._answered(fault, request)
        fault = self._chance(request) if self._chance else None
        if fault is not None:
            return await self._answered(fault, request)
        return await self._inner.handle_async_request(request)

    async def _answered(self, fault, request):
        self.met.append(fault.name)
        return await fault.answer(request, self._inner)

    async def aclose(self):
        await self._inner.aclose()


def is_watch(request):
    return request.url.params.get("watch") == "true"


def is_list(request):
    return request.method == "GET" and not is_watch(request)


def is_write(request):
    return request.method != "GET"


def status(code, reason, *, after=None, message="as the test has it"):
    """The server refuses."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message}  # fmt: skip
    headers = {"content-type": "application/json"}
    if after is not None:
        headers["retry-after"] = str(after)

    async def answer(request, inner):
        return httpx.Response(code, headers=headers, content=json.dumps(body))

    return answer


def page(code, text="<html>busy</html>"):
    """A proxy in between answers in the server's place."""

    async def answer(request, inner):
        return httpx.Response(code, headers={"content-type": "text/html"}, text=text)

    return answer


def broken(error):
    """The connection does not come up, or breaks."""

    async def answer(request, inner):
        raise error("as the test has it")

    return answer


class _Cut(httpx.AsyncByteStream):
    def __init__(self, inner, before, after):
        self._inner, self._before, self._after = inner, before, after

    async def __aiter__(self):
        sent = 0
        async for chunk in self._inner:
            piece = chunk[: self._before - sent]
            sent += len(piece)
            yield piece
            if sent >= self._before:
                break
        if isinstance(self._after, bytes):
            yield self._after
        elif self._after is not None:
            raise self._after("as the test has it")

    async def aclose(self):
        await self._inner.aclose()


def cut(before, after=None):
    """The stream passes so many bytes, then ends, breaks with an error, or says something else."""

    async def answer(request, inner):
        response = await inner.handle_async_request(request)
        stream = _Cut(response.stream, before, after)
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)

    return answer
