"""Clients that take their time, against a real server that has a second for each of them."""

import contextlib
import json
import socket
import time

import pytest

from tests.modelserver import models
from tests.modelserver.server import DEADLINE_S, started, wait_until

pytestmark = pytest.mark.slow

IMPATIENT = """
from motorpool.modelserver import bodies, main, server
bodies.PATIENCE_S = 1
server.HEAD_PATIENCE_MS = 1000
main.main()
"""
NUMBERS = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
BODY = json.dumps({"inputs": [NUMBERS]}).encode()
INFER = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n"
BYTE_EVERY_S = 0.2


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("times")
    models.times(directory / "1", 2)
    with started(directory, log=directory / "log", program=("-c", IMPATIENT)) as running:
        yield running


def told(server, opening, drop):
    """What a client hears that sends *opening*, and then *drop* again and again."""
    heard = b""
    with socket.create_connection((server.address, server.port), BYTE_EVERY_S) as connection:
        connection.sendall(opening)
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                try:
                    part = connection.recv(65536)
                except ConnectionResetError:
                    # The server ended it while a drop was on its way.
                    part = b""
                if not part:
                    return heard
                heard += part
                continue
            with contextlib.suppress(OSError):
                connection.sendall(drop)
    raise AssertionError(f"it still waits, and has said {heard!r}")


@pytest.mark.parametrize("size", [1000, 1_000_000])
@pytest.mark.parametrize("drop", [b"", b" "])
def test_a_body_that_hardly_comes_is_given_up(server, size, drop):
    heard = told(server, INFER + b"Content-Length: %d\r\n\r\n{" % size, drop)

    assert heard.startswith(b"HTTP/1.1 408 ")
    assert heard.endswith(b'{"error":"Request body did not come in time"}')


def test_a_body_in_chunks_that_hardly_comes_is_given_up(server):
    heard = told(server, INFER + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")

    assert heard.startswith(b"HTTP/1.1 408 ")


def test_headers_that_hardly_come_end_the_connection(server):
    assert told(server, INFER + b"X-Long: ", b"x") == b""


def test_a_connection_that_nobody_uses_is_ended(server):
    heard = told(server, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n", b"")

    assert heard.startswith(b"HTTP/1.1 200 ")


def test_slow_clients_keep_nobody_waiting(server):
    with contextlib.ExitStack() as stack:
        for number in range(200):
            connection = socket.create_connection((server.address, server.port), DEADLINE_S)
            stack.enter_context(connection)
            connection.sendall((INFER + b"Content-Length: 1000\r\n\r\n{")[: 30 + number])
        answers = [server.call("POST", "/v2/models/m/infer", BODY).status for _ in range(5)]

    assert answers == [200] * 5
    wait_until(lambda: server.metric('ovms_current_requests{name="m",version="1"}') == 0)


def test_whoever_reads_slowly_gets_all_of_the_answer(tmp_path):
    models.times(tmp_path / "1", 2, (1, 500_000))
    body = json.dumps(
        {"inputs": [NUMBERS | {"shape": [1, 500_000], "data": [0.5] * 500_000}]}
    ).encode()
    with (
        started(tmp_path, log=tmp_path / "log", program=("-c", IMPATIENT)) as server,
        socket.create_connection((server.address, server.port), DEADLINE_S) as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)
        connection.sendall(
            INFER + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        first = connection.recv(1000)
        # Longer than its patience with whoever sends slowly.
        time.sleep(2)
        heard = first + b"".join(iter(lambda: connection.recv(2**20), b""))

    assert heard.startswith(b"HTTP/1.1 200 ")
    assert json.loads(heard.partition(b"\r\n\r\n")[2])["outputs"][0]["data"] == [1.0] * 500_000
