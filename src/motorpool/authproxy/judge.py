"""Who may: what the API said of a token, remembered, and asked again in time.

    age of a yes     0 .. FRESH_S      it holds
                     .. HELD_S         it holds, and the API is asked again beside
                     beyond            the API is asked first
    a no             REFUSED_S         so that a new right is soon seen
    no answer        a yes holds on for SILENT_S since it was last said, and asking waits RETRY_S:
                     models go on serving while the control plane is away, when nobody can take a
                     right back either. Where the API answers but lets this pod not ask, it is
                     FORBIDDEN_S: that is no outage. A token that has ended is worth nothing.

Rules
  1. What was never allowed is refused, whatever fails.
  2. Tokens are kept as digests. A yes and a no are kept apart, so that nobody can wash out the
     callers who may by asking with tokens that are none; the same holds for places in the queue.
  3. One question per token at a time, however many requests wait for it.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from motorpool.authproxy.reviews import Answer, Caller, NotPermitted, Unreachable
from motorpool.authproxy.rules import Rule

FRESH_S, HELD_S = 10.0, 30.0
REFUSED_S = 5.0
SILENT_S = 12 * 3600.0
FORBIDDEN_S = 300.0
RETRY_S = 5.0
REMEMBERED_MAX = 4096
TOKEN_LENGTH_MAX = 16 << 10
AT_ONCE = 4
WAITING_MAX = 256

Ask: TypeAlias = Callable[[str], Awaitable[Answer]]
"""Raises Unreachable, NotPermitted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    status: int  # of HTTP; 200 lets the request through
    message: str = ""
    caller: Caller | None = None


NO_TOKEN = Verdict(401, "no bearer token: send the header Authorization: Bearer TOKEN")
BAD_TOKEN = Verdict(401, "the bearer token is not valid, or no longer")
BUSY = Verdict(503, "too many tokens are being checked: try again")


@dataclass(slots=True)
class _Known:
    verdict: Verdict
    said_at: float
    ends_at: float = math.inf  # the token's own end, in wall-clock time
    retry_at: float = field(default=0.0)


@dataclass(slots=True)
class _Queue:
    """Questions of one sort: a few at once, and not many behind them."""

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    waiting: int = 0


class Judge:
    def __init__(
        self, ask: Ask, rule: Rule, *, clock: Callable[[], float], wall: Callable[[], float],
        told: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """*clock* never jumps; *wall* is the time of day. *told* hears what keeps it from asking,
        once each, and that it can again.
        """
        self._ask = ask
        self._rule = rule
        self._clock, self._wall = clock, wall
        self._told, self._problem = told, ""
        self._permitted: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Verdict]] = {}
        self._known_callers, self._strangers = _Queue(), _Queue()

    def known(self, authorization: str) -> Verdict | None:
        """The verdict where nothing has to be waited for."""
        token = token_of(authorization)
        if not token:
            return NO_TOKEN
        if len(token) > TOKEN_LENGTH_MAX:
            return BAD_TOKEN
        key = _digest(token)
        now = self._clock()
        known = self._permitted.get(key)
        if known is None:
            refused = self._refused.get(key)
            fresh = refused is not None and now < refused.said_at + REFUSED_S
            return refused.verdict if refused is not None and fresh else None
        if known.ends_at <= self._wall():
            del self._permitted[key]
            return BAD_TOKEN
        self._permitted.move_to_end(key)
        age = now - known.said_at
        if age < FRESH_S:
            return known.verdict
        if age < HELD_S or now < known.retry_at:
            if now >= known.retry_at:
                self._question(key, token)
            return known.verdict
        return None

    async def judge(self, authorization: str) -> Verdict:
        known = self.known(authorization)
        if known is not None:
            return known
        token = token_of(authorization)
        task = self._question(_digest(token), token)
        # Who gives up waiting takes nothing from the others who wait for the same.
        return BUSY if task is None else await asyncio.shield(task)

    def _question(self, key: bytes, token: str) -> "asyncio.Task[Verdict] | None":
        """The question about that token; None where there are too many already."""
        task = self._asking.get(key)
        if task is None:
            queue = self._known_callers if key in self._permitted else self._strangers
            if queue.waiting >= WAITING_MAX:
                return None
            queue.waiting += 1
            task = asyncio.ensure_future(self._asked(key, token, queue))
            self._asking[key] = task
        return task

    async def _asked(self, key: bytes, token: str, queue: _Queue) -> Verdict:
        try:
            async with queue.turns:
                answer = await self._ask(token)
        except Unreachable as error:
            return self._unanswered(key, str(error), SILENT_S)
        except NotPermitted as error:
            return self._unanswered(key, str(error), FORBIDDEN_S)
        finally:
            queue.waiting -= 1
            del self._asking[key]
        return self._answered(key, token, answer)

    def _answered(self, key: bytes, token: str, answer: Answer) -> Verdict:
        if self._problem:
            self._problem = ""
            self._told("tokens can be checked again")
        self._permitted.pop(key, None)
        self._refused.pop(key, None)
        verdict = self._verdict(answer)
        kept = self._permitted if verdict.status == 200 else self._refused
        kept[key] = _Known(verdict, self._clock(), _end_of(token))
        if len(kept) > REMEMBERED_MAX:
            kept.popitem(last=False)
        return verdict

    def _verdict(self, answer: Answer) -> Verdict:
        if answer.caller is None:
            return BAD_TOKEN
        if not answer.allowed:
            return Verdict(403, f"{answer.caller.name} may not {self._rule}: a Role and a "
                           "RoleBinding would grant it", answer.caller)  # fmt: skip
        return Verdict(200, "", answer.caller)

    def _unanswered(self, key: bytes, why: str, holds_s: float) -> Verdict:
        if why != self._problem:
            self._problem = why
            self._told(f"tokens cannot be checked: {why}")
        known, now = self._permitted.get(key), self._clock()
        if known is not None and now < known.said_at + holds_s:
            known.retry_at = now + RETRY_S
            return known.verdict
        return Verdict(503, f"the token cannot be checked now: {why}")


def token_of(authorization: str) -> str:
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _end_of(token: str) -> float:
    """When a JSON Web Token says that it ends. The API has checked who signed that."""
    parts = token.split(".")
    if len(parts) != 3:
        return math.inf
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        return math.inf
