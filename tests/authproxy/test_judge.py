"""Who may: what is remembered, for how long, and what holds while the API is silent."""

import asyncio
import base64
import json

import pytest

from motorpool.authproxy import judge as judging
from motorpool.authproxy.judge import Judge
from motorpool.authproxy.reviews import Answer, Caller, NotPermitted, Unreachable
from motorpool.authproxy.rules import Rule

RULE = Rule({"verb": "get", "resource": "inferenceservices", "name": "digits", "namespace": "ns"})
ALICE, BOB = "Bearer alice", "Bearer bob"


class Api:
    """Answers at once, unless told to wait; counts what it is asked."""

    def __init__(self):
        self.allowed, self.asked, self.error = {"alice"}, [], None
        self.known = {"alice", "bob"}
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, token):
        self.asked.append(token)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        name = token.split(".")[0] if token.count(".") == 2 else token
        if name not in self.known:
            return Answer(None)
        return Answer(Caller(name), allowed=name in self.allowed)


class Court:
    def __init__(self):
        self.now, self.day = 1000.0, 1_800_000_000.0
        self.api = Api()
        self.judge = Judge(self.api, RULE, clock=lambda: self.now, wall=lambda: self.day)

    async def status(self, authorization):
        return (await self.judge.judge(authorization)).status

    def known(self, authorization):
        verdict = self.judge.known(authorization)
        return None if verdict is None else verdict.status

    def pass_(self, seconds):
        self.now += seconds
        self.day += seconds

    async def settled(self):
        while self.judge._asking:
            await asyncio.sleep(0)


@pytest.fixture
async def court():
    return Court()


def token_that_ends(name, at):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": at}).encode()).rstrip(b"=").decode()
    return f"Bearer {name}.{claims}.signature"


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic YWxpY2U6", "alice"])
async def test_without_a_token_nobody_is_asked(court, authorization):
    assert await court.status(authorization) == 401
    assert court.api.asked == []


async def test_the_three_answers(court):
    assert await court.status(ALICE) == 200
    verdict = await court.judge.judge(BOB)
    assert verdict.status == 403
    assert "bob may not get inferenceservices/digits in namespace ns" in verdict.message
    assert await court.status("Bearer eve") == 401
    assert await court.status("bearer alice") == 200, "the scheme's case does not count"


async def test_a_token_longer_than_any_is_not_asked_about(court):
    assert await court.status("Bearer " + "x" * 17_000) == 401
    assert court.api.asked == []


async def test_a_yes_is_remembered_and_then_asked_about_beside(court):
    await court.status(ALICE)
    court.pass_(judging.FRESH_S - 0.1)
    assert court.known(ALICE) == 200
    assert len(court.api.asked) == 1
    court.pass_(0.2)
    assert court.known(ALICE) == 200, "nobody waits"
    await court.settled()
    assert len(court.api.asked) == 2
    court.pass_(judging.FRESH_S - 0.1)
    assert court.known(ALICE) == 200
    assert len(court.api.asked) == 2, "the new answer counts from when it came"


async def test_a_right_that_is_taken_away_ends_within_the_time_that_a_yes_is_held(court):
    await court.status(ALICE)
    court.api.allowed.clear()
    court.pass_(judging.HELD_S + 0.1)
    assert court.known(ALICE) is None, "old enough to be asked first"
    assert await court.status(ALICE) == 403


async def test_a_right_that_is_taken_away_ends_sooner_for_who_keeps_calling(court):
    await court.status(ALICE)
    court.api.allowed.clear()
    court.pass_(judging.FRESH_S + 0.1)
    assert court.known(ALICE) == 200
    await court.settled()
    assert court.known(ALICE) == 403


async def test_a_right_that_is_given_is_seen_soon(court):
    assert await court.status(BOB) == 403
    court.api.allowed.add("bob")
    assert await court.status(BOB) == 403
    court.pass_(judging.REFUSED_S + 0.1)
    assert await court.status(BOB) == 200


@pytest.mark.parametrize(
    ("error", "holds_s"),
    [(Unreachable("refused"), judging.SILENT_S), (NotPermitted("403"), judging.FORBIDDEN_S)],
)
async def test_without_an_answer_a_yes_holds_on_for_a_bounded_while(court, error, holds_s):
    await court.status(ALICE)
    court.api.error = error
    court.pass_(judging.HELD_S + 1)
    assert await court.status(ALICE) == 200
    asked = len(court.api.asked)
    assert court.known(ALICE) == 200, "an API that is silent is not asked at every request"
    assert len(court.api.asked) == asked
    court.pass_(holds_s - judging.HELD_S - 2)
    assert await court.status(ALICE) == 200
    court.pass_(judging.RETRY_S + 2)
    assert await court.status(ALICE) == 503


async def test_without_an_answer_nobody_new_is_let_in(court):
    court.api.error = Unreachable("refused")
    assert await court.status(ALICE) == 503
    court.api.error = None
    assert await court.status(ALICE) == 200, "that was no verdict: it is not kept"


async def test_an_api_that_is_back_is_asked_again(court):
    await court.status(ALICE)
    court.api.error = Unreachable("refused")
    court.pass_(judging.HELD_S + 1)
    await court.status(ALICE)
    court.api.error = None
    court.api.allowed.clear()
    court.pass_(judging.RETRY_S + 0.1)
    assert await court.status(ALICE) == 403


async def test_a_token_that_has_ended_is_worth_nothing_whatever_is_remembered(court):
    token = token_that_ends("alice", court.day + 5)
    assert await court.status(token) == 200
    court.api.error = Unreachable("refused")
    court.pass_(5.1)
    assert await court.status(token) == 401


async def test_many_requests_of_one_token_are_one_question(court):
    court.api.gate.clear()
    waiting = [asyncio.ensure_future(court.status(ALICE)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    court.api.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[1:] == [200] * 49, "who gives up waiting takes nothing from the others"
    assert court.api.asked == ["alice"]


async def test_a_flood_of_strangers_neither_washes_out_nor_delays_who_may(court):
    await court.status(ALICE)
    for number in range(judging.REMEMBERED_MAX + 10):
        await court.status(f"Bearer stranger-{number}")
    assert len(court.judge._refused) == judging.REMEMBERED_MAX
    assert court.known(ALICE) == 200

    court.api.gate.clear()
    flood = [asyncio.ensure_future(court.status(f"Bearer new-{n}")) for n in range(300)]
    await asyncio.sleep(0)
    court.pass_(judging.HELD_S + 1)
    regular = asyncio.ensure_future(court.status(ALICE))
    while "alice" not in court.api.asked[1:]:
        await asyncio.sleep(0)  # it does not stand behind the flood
    court.api.gate.set()
    assert await regular == 200
    answers = await asyncio.gather(*flood)
    assert answers.count(503) == 300 - judging.WAITING_MAX
    assert set(answers) == {401, 503}
