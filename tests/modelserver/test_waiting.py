"""How long a request is worth its work."""

import asyncio
import json
import socket

import grpc
import pytest

from motorpool.modelserver import waiting
from motorpool.modelserver.errors import ClientLeft, Expired
from motorpool.modelserver.protocols import messages
from motorpool.modelserver.workers import QUEUE_MOST
from tests.modelserver import models
from tests.modelserver.server import free_port, started, wait_until


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("15000", 15.0), ("1", 0.001), ("0", None), ("-1", None), ("soon", None)],
)
def test_the_time_is_what_envoy_says_in_milliseconds(header, expected):
    assert waiting.timeout_s(header) == expected


async def test_an_answer_in_time_is_an_answer():
    assert await waiting.within(10, asyncio.sleep(0, "answer")) == "answer"
    assert await waiting.within(None, asyncio.sleep(0, "answer")) == "answer"


async def test_work_is_given_up_when_its_time_is_over():
    work = asyncio.ensure_future(asyncio.Event().wait())

    with pytest.raises(Expired, match=r"Request timeout expired - no answer within 0\.01 s"):
        await waiting.within(0.01, work)

    assert work.cancelled()


async def test_work_is_given_up_when_its_client_leaves():
    work, left = asyncio.ensure_future(asyncio.Event().wait()), asyncio.Event()
    asyncio.get_running_loop().call_soon(left.set)

    with pytest.raises(ClientLeft):
        await waiting.while_connected(left.wait, work)

    await asyncio.sleep(0)
    assert work.cancelled()


async def test_who_stays_gets_the_answer_and_nobody_watches_any_more():
    left = asyncio.ensure_future(asyncio.Event().wait())

    assert await waiting.while_connected(lambda: left, asyncio.sleep(0, "answer")) == "answer"

    await asyncio.sleep(0)
    assert left.cancelled()


BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [700, 700], "datatype": "FP32", "data": [0.5] * 490_000}]}
).encode()
HEAD = "POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{}\r\n"
DONE = 'ovms_inference_time_us_count{name="m",version="1"}'
UNDER_WAY = 'ovms_current_requests{name="m",version="1"}'
FAILED = (
    'ovms_requests_fail{api="KServe",interface="REST",method="ModelInfer",name="m",version="1"}'
)
FAILED_GRPC = FAILED.replace("REST", "gRPC")


def sent(server, *headers):
    connection = socket.create_connection((server.address, server.port), timeout=20)
    lines = "".join(f"{header}\r\n" for header in headers)
    connection.sendall(HEAD.format(len(BODY), lines).encode() + BODY)
    return connection


@pytest.fixture
def busy(tmp_path):
    """A server whose one worker is busy for two seconds."""
    models.slow(tmp_path / "1", size=700, busy_s=2)
    port = free_port()
    local = f"--port={port}", "--grpc_bind_address=127.0.0.1"
    with started(tmp_path, *local, log=tmp_path / "log") as server:
        server.grpc = f"127.0.0.1:{port}"
        first = sent(server)
        wait_until(lambda: server.metric(UNDER_WAY) == 1)
        yield server
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        first.close()


@pytest.mark.slow
def test_what_waits_for_a_client_that_left_is_never_computed(busy):
    waiting_ones = [sent(busy) for _ in range(3)]
    wait_until(lambda: busy.metric(UNDER_WAY) == 4)

    for connection in waiting_ones:
        connection.close()

    wait_until(lambda: busy.metric(FAILED) == 3)
    wait_until(lambda: busy.metric(UNDER_WAY) == 0)
    assert busy.metric(DONE) == 1


@pytest.mark.slow
def test_a_request_whose_time_is_over_is_answered_and_never_computed(busy):
    with sent(busy, "x-envoy-expected-rq-timeout-ms: 20") as late:
        assert late.recv(100).startswith(b"HTTP/1.1 504")

    wait_until(lambda: busy.metric(UNDER_WAY) == 0)
    assert busy.metric(DONE) == 1


def infer(channel):
    return channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=messages.message("inference.ModelInferRequest").SerializeToString,
    )


def matrix():
    request = messages.message("inference.ModelInferRequest")(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[700, 700])
    request.raw_input_contents.append(bytes(4 * 700 * 700))
    return request


@pytest.mark.slow
def test_a_call_whose_deadline_passes_is_never_computed(busy):
    with grpc.insecure_channel(busy.grpc) as channel:
        grpc.channel_ready_future(channel).result(timeout=20)
        with pytest.raises(grpc.RpcError) as late:
            infer(channel)(matrix(), timeout=0.2)

    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: busy.metric(UNDER_WAY) == 0)
    assert busy.metric(DONE) == 1


@pytest.mark.slow
def test_a_call_that_its_client_cancels_is_never_computed(busy):
    with grpc.insecure_channel(busy.grpc) as channel:
        calls = [infer(channel).future(matrix()) for _ in range(3)]
        wait_until(lambda: busy.metric(UNDER_WAY) == 4)
        for call in calls:
            call.cancel()

        wait_until(lambda: busy.metric(FAILED_GRPC) == 3)
    wait_until(lambda: busy.metric(UNDER_WAY) == 0)
    assert busy.metric(DONE) == 1


@pytest.mark.slow
def test_what_comes_when_as_many_wait_as_may_is_refused_at_once(tmp_path):
    models.slow_of_one_number(tmp_path / "1", busy_s=5)
    port = free_port()
    local = f"--port={port}", "--grpc_bind_address=127.0.0.1"
    request = messages.message("inference.ModelInferRequest")(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1)
    numbers = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    full = "Too many requests: 512 are waiting already"
    with (
        started(tmp_path, *local, log=tmp_path / "log") as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        waiting_ones = [infer(channel).future(request) for _ in range(1 + QUEUE_MOST)]
        wait_until(lambda: server.metric(UNDER_WAY) == 1 + QUEUE_MOST)

        with pytest.raises(grpc.RpcError) as refused:
            infer(channel)(request, timeout=20)
        over_rest = server.infer(numbers)

        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.value.details() == full
        assert (over_rest.status, over_rest.error) == (503, full)
        assert not any(call.done() for call in waiting_ones[1:])
