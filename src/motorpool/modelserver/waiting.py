"""How long a request is worth its work: until its time is over or its client has left.

The time comes in the header by which Envoy tells a server how long it will wait for it. What has
not been begun by then never is; what has been begun is finished, and its answer dropped.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from motorpool.modelserver.errors import ClientLeft, Expired

TIMEOUT_MS = "x-envoy-expected-rq-timeout-ms"

T = TypeVar("T")


def timeout_s(header: str | None) -> float | None:
    """None where the request may take as long as it likes."""
    if header is None or not re.fullmatch(r"[0-9]{1,12}", header):
        return None
    return int(header) / 1e3 or None


async def within(timeout_s: float | None, work: Awaitable[T]) -> T:
    """Raises Expired."""
    if timeout_s is None:
        return await work
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError:
        raise Expired(f"no answer within {timeout_s:g} s") from None


async def while_connected(left: Callable[[], Awaitable[object]], work: Awaitable[T]) -> T:
    """*left* returns once the client has gone. Raises ClientLeft."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(left())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        working.cancel()
        leaving.cancel()
