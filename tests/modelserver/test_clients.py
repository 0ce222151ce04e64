"""Triton's HTTP client, unmodified; and what rude clients do."""

import contextlib
import http.client
import json
import os
import resource
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton

from tests.modelserver import models
from tests.modelserver.server import started, wait_until

pytestmark = pytest.mark.slow

NUMBERS = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
IDLE = 1000
INFER = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("times")
    models.times(directory / "1", 2)
    # The server inherits it: many systems allow 1024 files unless asked for more.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft < 4 * IDLE <= hard else soft, hard))
    with started(directory, log=directory / "log") as running:
        yield running


@pytest.fixture
def client(server):
    with contextlib.closing(triton.InferenceServerClient(f"127.0.0.1:{server.port}")) as client:
        yield client


def tensor(binary):
    given = triton.InferInput("x", [1, 4], "FP32")
    given.set_data_from_numpy(np.array([[1, 2, 3, 4]], np.float32), binary_data=binary)
    return given


def test_tritons_client_asks_for_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m")
    assert client.get_server_metadata()["name"] == "OpenVINO Model Server"
    assert client.get_model_metadata("m")["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    ]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("outputs", [None, True, False])
@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_tritons_client_infers(client, binary, outputs, packing):
    asked = None if outputs is None else [triton.InferRequestedOutput("y", binary_data=outputs)]

    result = client.infer(
        "m", [tensor(binary)], outputs=asked, request_compression_algorithm=packing
    )

    assert result.as_numpy("y").tolist() == [[2, 4, 6, 8]]


def test_numbers_that_python_lacks_pass_as_bytes(tmp_path):
    models.bfloat_times_two(tmp_path / "1")
    bits = (np.array([[1, 2, 3, 4]], "<f4").view("<u4") >> 16).astype("<u2")
    given = {"name": "x", "shape": [1, 4], "datatype": "BF16"}
    document = {"inputs": [given], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}

    with started(tmp_path, log=tmp_path / "log") as server:
        datatype = server.get("/v2/models/m").json["inputs"][0]["datatype"]
        answer = server.infer(document, bits.tobytes())
        listed = server.infer({"inputs": [given | {"data": [1, 2, 3, 4]}]})
        unlisted = server.infer({"inputs": [given]}, bits.tobytes())

    end = int(answer.headers["inference-header-content-length"])
    doubled = np.frombuffer(answer.body[end:], "<u2").astype("<u4") << 16
    assert datatype == "BF16"
    assert doubled.view("<f4").tolist() == [2, 4, 6, 8]
    assert (listed.status, unlisted.status) == (400, 400)
    assert unlisted.error == "Unsupported precision - ask for y as binary data"


def test_requests_in_one_piece_are_answered_in_their_order(server):
    body = [json.dumps({"inputs": [NUMBERS | {"data": [i, 0, 0, 0]}]}).encode() for i in range(3)]
    whole = b"".join(INFER + b"Content-Length: %d\r\n\r\n%b" % (len(each), each) for each in body)

    with socket.create_connection((server.address, server.port), 10) as connection:
        connection.sendall(whole)
        reply = b""
        while reply.count(b"HTTP/1.1 200") < 3 or not reply.endswith(b"}"):
            reply += connection.recv(65536)

    places = [reply.find(b'"data": [%d' % (2 * number)) for number in range(3)]
    assert places[0] > 0
    assert places == sorted(places)


def test_a_thousand_idle_connections_keep_nobody_waiting(server):
    def files():
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))

    before = files()
    with contextlib.ExitStack() as stack:
        for index in range(IDLE):
            connection = socket.create_connection((server.address, server.port), 10)
            stack.enter_context(connection)
            # Some have begun to speak, and some have stopped.
            if index % 3 == 1:
                connection.sendall(INFER[: index % len(INFER)])
            elif index % 3 == 2:
                connection.shutdown(socket.SHUT_WR)
        answers = [server.infer({"inputs": [NUMBERS]}).status for _ in range(5)]

    assert answers == [200] * 5
    wait_until(lambda: files() < before + 20)


def test_memory_stays_flat_and_answers_are_each_clients_own(server):
    def resident_kb():
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def ask(count):
        with socket.create_connection((server.address, server.port), 10) as connection:
            for index in range(count):
                good = json.dumps({"id": str(index), "inputs": [NUMBERS]}).encode()
                body = good if index % 2 else good[: index % len(good)]
                connection.sendall(INFER + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                reply = connection.recv(65536)
                assert reply.startswith(b"HTTP/1.1 200" if index % 2 else b"HTTP/1.1 4")
                assert (b'"id": "%d"' % index in reply) == bool(index % 2)

    ask(1000)
    before = resident_kb()
    ask(int(os.environ.get("MOTORPOOL_SOAK_REQUESTS", "4000")))

    assert resident_kb() < before + 4096


def asked_until_refused(server, counts):
    """Requests one after another, each until its answer, until nobody listens any more.

    A connection that is kept may be closed while nothing is asked; what crosses that on its way is
    asked again on another, as every client does. On a new connection nothing may be lost.
    """
    body = json.dumps({"inputs": [NUMBERS]})
    connection = http.client.HTTPConnection(server.address, server.port, timeout=60)
    while True:
        try:
            connection.connect()
        except ConnectionRefusedError:
            return
        asked = 0
        kept = True
        while kept:
            try:
                connection.request("POST", "/v2/models/m/infer", body)
                answer = connection.getresponse()
            except (ConnectionError, http.client.RemoteDisconnected):
                if not asked:
                    raise
                break
            asked += 1
            counts.append((answer.status, len(answer.read())))
            kept = answer.getheader("connection") != "close"
        connection.close()


def test_sigterm_under_full_load_fails_no_request(tmp_path):
    models.times(tmp_path / "1", 2)
    counts = []
    with started(tmp_path, log=tmp_path / "log") as server, ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(asked_until_refused, server, counts) for _ in range(8)]
        wait_until(lambda: len(counts) > 500)
        code = server.stop()
        for client in clients:
            client.result(60)

    assert code == 0
    assert {status for status, _ in counts} == {200}
    assert len({size for _, size in counts}) == 1
