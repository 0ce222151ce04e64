"""The real server over gRPC: what a client sees. The client is Triton's, as its users have it."""

import contextlib
import queue
import threading

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from motorpool import __version__
from motorpool.modelserver.protocols import messages
from tests import image_model
from tests.modelserver import models
from tests.modelserver.server import DEADLINE_S, free_port, run, started, wait_until

pytestmark = pytest.mark.slow

HEALTH = "grpc.health.v1.HealthCheck"
REFLECTION = "grpc.reflection.v1.ServerReflection"


@contextlib.contextmanager
def speaking(model, *flags, log):
    port = free_port()
    local = f"--port={port}", "--grpc_bind_address=127.0.0.1"
    with started(model, *local, *flags, log=log) as server:
        server.address = f"127.0.0.1:{port}"
        client = triton.InferenceServerClient(server.address)
        with contextlib.closing(client):
            server.address = "127.0.0.1"
            server.grpc = f"127.0.0.1:{port}"
            yield server, client


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("times")
    models.times(directory / "1", 2)
    with speaking(directory, log=directory / "log") as pair:
        yield pair


@pytest.fixture
def client(served):
    return served[1]


@pytest.fixture
def channel(served):
    with grpc.insecure_channel(served[0].grpc) as channel:
        yield channel


def tensor(array, name="x", datatype="FP32"):
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


NUMBERS = np.array([[1, 2, 3, 4]], np.float32)


def method(channel, name, kind="unary_unary", request=None, response=None):
    return getattr(channel, kind)(
        name,
        request_serializer=messages.message(request).SerializeToString,
        response_deserializer=messages.message(response).FromString,
    )


def test_the_server_is_live_and_ready_and_tells_its_name(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert (metadata.name, metadata.version) == ("OpenVINO Model Server", __version__)


def test_a_model_is_ready_and_tells_its_tensors(client):
    assert client.is_model_ready("m")
    assert client.is_model_ready("m", "1")
    assert client.get_model_metadata("m", as_json=True) == {
        "name": "m",
        "versions": ["1"],
        "platform": "OpenVINO",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": ["1", "4"]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": ["1", "4"]}],
    }


@pytest.mark.parametrize("version", ["", "1"])
def test_a_client_infers(client, version):
    result = client.infer("m", [tensor(NUMBERS)], model_version=version, request_id="7")

    assert result.as_numpy("y").tolist() == [[2, 4, 6, 8]]
    assert (result.get_response().id, result.get_response().model_version) == ("7", "1")


def test_typed_contents_are_answered_in_bytes(channel):
    infer = method(
        channel,
        "/inference.GRPCInferenceService/ModelInfer",
        request="inference.ModelInferRequest",
        response="inference.ModelInferResponse",
    )
    request = messages.message("inference.ModelInferRequest")(model_name="m")
    request.inputs.add(
        name="x", datatype="FP32", shape=[1, 4], contents={"fp32_contents": [1, 2, 3, 4]}
    )

    response = infer(request, timeout=DEADLINE_S)

    assert np.frombuffer(response.raw_output_contents[0], "<f4").tolist() == [2, 4, 6, 8]


def test_compressed_requests_are_taken(client):
    result = client.infer("m", [tensor(NUMBERS)], compression_algorithm="gzip")

    assert result.as_numpy("y").tolist() == [[2, 4, 6, 8]]


@pytest.mark.parametrize(
    ("name", "version", "array", "code", "text"),
    [
        ("nope", "", NUMBERS, "NOT_FOUND", "graph definition with requested name is not found"),
        ("m", "9", NUMBERS, "NOT_FOUND", "Model with requested version is not found"),
        ("m", "x", NUMBERS, "INVALID_ARGUMENT", "Invalid model version format"),
        ("m", "", NUMBERS[0], "INVALID_ARGUMENT", "Expected: (1,4); Actual: (4); input name: x"),
        ("m", "", NUMBERS[:, :2], "INVALID_ARGUMENT", "Invalid input shape - Expected: (1,4)"),
    ],
)
def test_a_mistake_is_told_with_its_code(client, name, version, array, code, text):
    with pytest.raises(InferenceServerException) as failure:
        client.infer(name, [tensor(array)], model_version=version)

    assert failure.value.status() == f"StatusCode.{code}"
    assert text in failure.value.message()


def test_a_model_that_is_not_there_is_not_found(client):
    for ask in (client.is_model_ready, client.get_model_metadata):
        with pytest.raises(InferenceServerException, match="Model with requested name"):
            ask("nope")


def test_what_is_no_message_hurts_nobody(served, channel):
    raw = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    unknown = channel.unary_unary("/inference.GRPCInferenceService/Nope")

    with pytest.raises(grpc.RpcError) as malformed:
        raw(b"\xff\xff\xff\xff", timeout=DEADLINE_S)
    with pytest.raises(grpc.RpcError) as missing:
        unknown(b"", timeout=DEADLINE_S)

    assert malformed.value.code() is grpc.StatusCode.INTERNAL
    assert missing.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert served[1].is_server_live()


def test_a_stream_answers_each_request_in_order_mistakes_included(served):
    answers = queue.Queue()
    with contextlib.closing(triton.InferenceServerClient(served[0].grpc)) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for index in range(3):
            client.async_stream_infer("m", [tensor(NUMBERS + index)], request_id=str(index))
        client.async_stream_infer("nope", [tensor(NUMBERS)])
        client.async_stream_infer("m", [tensor(NUMBERS)], request_id="last")
        got = [answers.get(timeout=DEADLINE_S) for _ in range(5)]
        client.stop_stream()

    assert [result.get_response().id for result, _ in got if result] == ["0", "1", "2", "last"]
    assert got[2][0].as_numpy("y").tolist() == [[6, 8, 10, 12]]
    assert "requested name is not found" in got[3][1].message()


def test_health_is_what_probes_ask_for(channel):
    check = method(
        channel,
        "/grpc.health.v1.Health/Check",
        request=HEALTH + "Request",
        response=HEALTH + "Response",
    )
    ask = messages.message(HEALTH + "Request")

    assert check(ask(), timeout=DEADLINE_S).status == 1
    assert check(ask(service="inference.GRPCInferenceService"), timeout=DEADLINE_S).status == 1
    with pytest.raises(grpc.RpcError) as unknown:
        check(ask(service="nope"), timeout=DEADLINE_S)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_tells_what_there_is(channel):
    info = method(
        channel,
        f"/{REFLECTION}/ServerReflectionInfo",
        "stream_stream",
        REFLECTION + "Request",
        REFLECTION + "Response",
    )
    ask = messages.message(REFLECTION + "Request")

    (answer,) = info(iter([ask(list_services="")]), timeout=DEADLINE_S)

    names = [each.name for each in answer.list_services_response.service]
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health", REFLECTION} <= set(names)


def test_requests_over_grpc_are_counted_as_such(tmp_path):
    models.times(tmp_path / "1", 2)
    infers = (
        'ovms_requests_%s{api="KServe",interface="gRPC",method="ModelInfer",name="m",version="1"}'
    )

    with speaking(tmp_path, log=tmp_path / "log") as (server, client):
        client.infer("m", [tensor(NUMBERS)])
        with pytest.raises(InferenceServerException):
            client.infer("m", [tensor(NUMBERS[0])])

        assert server.metric(infers % "success") == 1
        assert server.metric(infers % "fail") == 1
        times = 'ovms_request_time_us_count{interface="gRPC",name="m",version="1"}'
        assert server.metric(times) == 1


def test_large_tensors_and_images_pass(tmp_path):
    image_model.build(tmp_path)
    encoded = np.array([image_model.jpeg(309)], dtype=np.object_)
    pixels = np.zeros((1, 224, 224, 3), np.float32)
    pixels[..., 2] = 255

    with speaking(tmp_path, "--layout=NHWC:NCHW", log=tmp_path / "log") as (_, client):
        of_image = client.infer("m", [tensor(encoded, "0", "BYTES")]).as_numpy("1463")
        of_pixels = client.infer("m", [tensor(pixels, "0")]).as_numpy("1463")
        with pytest.raises(InferenceServerException) as empty:
            client.infer("m", [tensor(np.array([b""], np.object_), "0", "BYTES")])
        with pytest.raises(InferenceServerException) as broken:
            client.infer("m", [tensor(np.array([b"x"], np.object_), "0", "BYTES")])

    assert int(np.argmax(of_image)) == 309
    assert int(np.argmax(of_pixels)) == 0
    assert empty.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert broken.value.status() == "StatusCode.UNKNOWN"


def test_sigterm_lets_requests_in_flight_finish_and_ends_idle_streams(tmp_path):
    models.slow(tmp_path / "1")
    answers = []
    given = tensor(np.zeros((1200, 1200), np.float32))

    with contextlib.ExitStack() as stack:
        server, client = stack.enter_context(speaking(tmp_path, log=tmp_path / "log"))
        idle = triton.InferenceServerClient(server.grpc)
        stack.callback(idle.close)
        idle.start_stream(lambda result, error: None)
        request = threading.Thread(target=lambda: answers.append(client.infer("m", [given])))
        request.start()
        wait_until(lambda: server.metric('ovms_current_requests{name="m",version="1"}') == 1)
        code = server.stop()
        request.join()

    assert code == 0
    assert [answer.as_numpy("y").size for answer in answers] == [1]


def test_a_port_in_use_is_one_clear_line(tmp_path, served):
    port = served[0].grpc.rpartition(":")[2]
    ended = run(
        "--model_name=m",
        f"--model_path={tmp_path}",
        f"--port={port}",
        "--grpc_bind_address=127.0.0.1",
    )

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert f"Failed to start gRPC server: 127.0.0.1:{port}" in ended.stderr


def refused(client, array):
    with pytest.raises(InferenceServerException) as failure:
        client.infer("m", [tensor(array)])
    return failure.value.status(), failure.value.message()


def test_requests_take_no_more_memory_than_their_quota(tmp_path):
    models.slow(tmp_path / "1", size=300, busy_s=1)
    matrix = np.zeros((300, 300), np.float32)  # of 360,000 bytes
    with speaking(tmp_path, "--grpc_memory_quota=800000", log=tmp_path / "log") as (server, client):
        # Alone it is refused before it is read; together with others once it has been.
        large = refused(client, np.zeros((1000, 300), np.float32))
        answers = queue.Queue()
        for _ in range(2):
            client.async_infer("m", [tensor(matrix)], lambda result, error: answers.put(error))
        wait_until(lambda: server.metric('ovms_current_requests{name="m",version="1"}') == 2)
        third = refused(client, matrix)
        errors = [answers.get(timeout=DEADLINE_S) for _ in range(2)]
        later = client.infer("m", [tensor(matrix)])

    assert large[0] == third[0] == "StatusCode.RESOURCE_EXHAUSTED"
    assert third[1] == "Too many large requests at a time - 800000 bytes are held at most"
    assert errors == [None, None]
    assert later.as_numpy("y") is not None


def test_a_stream_takes_no_more_memory_than_the_quota(tmp_path):
    models.times(tmp_path / "1", 2, (1, 100_000))
    array = np.ones((1, 100_000), np.float32)
    with speaking(tmp_path, "--grpc_memory_quota=500000", log=tmp_path / "log") as (_, client):
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        for _ in range(5):
            client.async_stream_infer("m", [tensor(array)])
        found = [answers.get(timeout=DEADLINE_S) for _ in range(5)]
        client.stop_stream()

    assert [error for _, error in found] == [None] * 5
