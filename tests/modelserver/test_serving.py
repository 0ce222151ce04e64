"""The real server over HTTP: what a client sees."""

import gzip
import json
import os
import shutil
import signal
import socket
import threading

import numpy as np
import pytest

from motorpool import __version__
from tests import image_model
from tests.modelserver import models
from tests.modelserver.server import free_port, run, started, wait_until

pytestmark = pytest.mark.slow

X = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
NUMBERS = {**X, "data": [1, 2, 3, 4]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("times")
    models.times(directory / "1", 2)
    with started(directory, log=directory / "log") as running:
        yield running


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    directory = tmp_path_factory.mktemp("images")
    image_model.build(directory)
    with started(directory, "--layout=NHWC:NCHW", log=directory / "log") as running:
        yield running


def blob_input(array, **fields):
    parameters = {"binary_data_size": array.nbytes}
    return {"name": "x", "shape": list(array.shape), "parameters": parameters} | fields


# Health and metadata


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"])
def test_what_is_well_answers_with_nothing(server, path):
    answer = server.get(path)

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == "0"
    assert answer.headers["access-control-allow-origin"] == "*"


def test_the_server_tells_its_name_and_version(server):
    assert server.get("/v2").json == {"name": "OpenVINO Model Server", "version": __version__}


@pytest.mark.parametrize("path", ["/v2/models/m", "/v2/models/m/", "/v2/models/m/versions/1"])
def test_a_model_tells_its_tensors(server, path):
    assert server.get(path).body == (
        b'{"name":"m","versions":["1"],"platform":"OpenVINO",'
        b'"inputs":[{"name":"x","datatype":"FP32","shape":[1,4]}],'
        b'"outputs":[{"name":"y","datatype":"FP32","shape":[1,4]}]}'
    )


def test_a_layout_shows_in_the_metadata(classifier):
    document = classifier.get("/v2/models/m").json

    assert document["inputs"] == [{"name": "0", "datatype": "FP32", "shape": [1, 224, 224, 3]}]
    assert document["outputs"] == [{"name": "1463", "datatype": "FP32", "shape": [1, 1000]}]


def test_a_preflight_is_let_through(server):
    assert server.call("OPTIONS", "/v2/models/m/infer").status == 200


# Inference


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m/versions/1/infer"])
def test_json_in_json_out(server, path):
    answer = server.call("POST", path, json.dumps({"id": "7", "inputs": [NUMBERS]}))

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "model_name": "m",
        "id": "7",
        "model_version": "1",
        "outputs": [{"name": "y", "shape": [1, 4], "datatype": "FP32", "data": [2, 4, 6, 8]}],
    }


def test_bytes_in_bytes_out(server):
    array = np.array([[1, 2, 3, 4]], "<f4")
    outputs = [{"name": "y", "parameters": {"binary_data": True}}]

    answer = server.infer(
        {"inputs": [blob_input(array, datatype="FP32")], "outputs": outputs}, array.tobytes()
    )

    end = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body[:end])["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(answer.body[end:], "<f4").tolist() == [2, 4, 6, 8]


def test_the_type_of_a_request_does_not_matter(server):
    answer = server.infer({"inputs": [NUMBERS]}, Content_Type="application/x-www-form-urlencoded")

    assert answer.status == 200


def test_a_body_may_come_in_chunks(server):
    text = json.dumps({"inputs": [NUMBERS]}).encode()
    path = f"/v2/models/{server.name}/infer"

    answer = server.call("POST", path, iter([text[:10], text[10:]]))

    assert answer.status == 200


@pytest.mark.parametrize("class_index", [0, 309, 682, 999])
@pytest.mark.parametrize("encode", [image_model.jpeg, image_model.png])
def test_an_image_gets_its_class(classifier, encode, class_index):
    body, header_length = image_model.request(encode(class_index))
    assert header_length == 63

    answer = classifier.call(
        "POST", "/v2/models/m/infer", body, Inference_Header_Content_Length="63"
    )

    output = answer.json["outputs"][0]
    assert (output["name"], output["shape"], len(output["data"])) == ("1463", [1, 1000], 1000)
    assert output["data"].index(max(output["data"])) == class_index


def test_pixels_may_come_as_numbers_in_the_layout_of_requests(classifier):
    pixels = np.zeros((1, 224, 224, 3), "<f4")
    pixels[..., 2] = 255  # all red: class 0
    given = blob_input(pixels, name="0", datatype="FP32")

    answer = classifier.infer({"inputs": [given]}, pixels.tobytes())

    assert int(np.argmax(answer.json["outputs"][0]["data"])) == 0


def test_several_inputs_and_outputs_go_by_their_names(tmp_path):
    models.two_inputs(tmp_path / "1")
    a = {"name": "a", "shape": [2, 2], "datatype": "INT32", "data": [1, 2, 3, 4]}
    b = {"name": "b", "shape": [2, 2], "datatype": "INT32", "data": [[10, 20], [30, 40]]}

    with started(tmp_path, log=tmp_path / "log") as server:
        outputs = server.infer({"inputs": [b, a]}).json["outputs"]
        again = server.infer({"inputs": [a | {"shape": [1, 2], "data": [1, 2]}, b]})
        shapes = [each["shape"] for each in server.get("/v2/models/m").json["inputs"]]

    assert [output["name"] for output in outputs] == ["10twice", "sum"]
    assert [output["data"] for output in outputs] == [[20, 40, 60, 80], [11, 22, 33, 44]]
    # One row against two is what the model itself can broadcast.
    assert again.json["outputs"][1]["data"] == [11, 22, 31, 42]
    assert shapes == [[-1, 2], [-1, 2]]


def test_an_inference_that_fails_in_the_engine_is_the_answer_and_not_the_end(tmp_path):
    models.two_inputs(tmp_path / "1")
    a = {"name": "a", "shape": [2, 2], "datatype": "INT32", "data": [1, 2, 3, 4]}
    b = {"name": "b", "shape": [3, 2], "datatype": "INT32", "data": [1, 2, 3, 4, 5, 6]}

    with started(tmp_path, log=tmp_path / "log") as server:
        failed = server.infer({"inputs": [a, b]})
        good = server.infer({"inputs": [a, b | {"shape": [1, 2], "data": [0, 0]}]})

    assert failed.status == 500
    assert failed.error.startswith("Internal inference error")
    assert good.status == 200


def test_onnx_is_served(tmp_path):
    models.onnx_times_two(tmp_path / "1" / "model.onnx")

    with started(tmp_path, log=tmp_path / "log") as server:
        assert server.infer({"inputs": [NUMBERS]}).json["outputs"][0]["data"] == [2, 4, 6, 8]


def test_a_tiny_model_answers_the_same_once_it_runs_on_the_loop(server):
    for factor in range(100):
        given = {**X, "data": [factor, 0, 0, 1]}
        assert server.infer({"inputs": [given]}).json["outputs"][0]["data"] == [2 * factor, 0, 0, 2]


# Mistakes


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/foo", 400, "Invalid request URL"),
        ("GET", "/", 400, "Invalid request URL"),
        ("GET", "/v1/models", 400, "Invalid request URL"),
        ("PUT", "/v2", 406, "Unsupported method"),
        ("GET", "/v2/models/m/infer", 406, "Unsupported method"),
        ("GET", "/v2/models/nope", 404, "Model with requested name is not found"),
        ("GET", "/v2/models/nope/ready", 404, "Model with requested name is not found"),
        ("GET", "/v2/models/m/versions/9", 404, "Model with requested version is not found"),
        ("GET", "/v2/models/m/versions/9/ready", 404, "Model with requested version is not found"),
        ("POST", "/v2/models/m/versions/9/infer", 404, "Model with requested version is not found"),
        (
            "POST",
            "/v2/models/nope/infer",
            404,
            "Mediapipe graph definition with requested name is not found",
        ),
    ],
)
def test_a_wrong_address_is_told_so(server, method, path, status, error):
    answer = server.call(method, path)

    assert (answer.status, answer.error) == (status, error)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"{", 412, "The file is not valid json - Error: Invalid value. Offset: 1"),
        (b"[]", 400, "Request body should be JSON object"),
        (b"{}", 400, "Invalid JSON structure, missing inputs"),
        (b"[" * 100_000, 500, "JSON nesting depth exceeds the allowed limit"),
    ],
)
def test_a_body_that_is_no_request_is_told_so(server, body, status, error):
    answer = server.call("POST", "/v2/models/m/infer", body)

    assert (answer.status, answer.error) == (status, error)


@pytest.mark.parametrize(
    ("given", "status", "error"),
    [
        ({**X, "data": [1]}, 400, ("Invalid number of values in tensor proto container - "
         "Expected: 4 values; Actual: 1 values; input name: x")),
        ({**X, "data": ["a"]}, 400, "Could not parse input content. Not valid ndarray detected"),
        (X, 400, "Could not parse input content. Not valid ndarray detected"),
        ({**NUMBERS, "shape": [4]}, 400, ("Invalid number of shape dimensions - "
         "Expected: (1,4); Actual: (4); input name: x")),
        ({**NUMBERS, "shape": [2, 2]}, 400, ("Invalid input batch size - "
         "Expected: 1; Actual: 2; input name: x")),
        ({**NUMBERS, "shape": [1, 2]}, 400, ("Invalid input shape - "
         "Expected: (1,4); Actual: (1,2); input name: x")),
        ({**NUMBERS, "datatype": "INT32"}, 400, ("Invalid input precision - "
         "Expected: FP32; Actual: INT32; input name: x")),
        ({**NUMBERS, "name": "z"}, 400,
         "Missing input with specific name - Required input: x"),
    ],
)  # fmt: skip
def test_an_input_that_does_not_fit_is_told_so(server, given, status, error):
    answer = server.infer({"inputs": [given]})

    assert (answer.status, answer.error) == (status, error)


def test_a_wrong_count_of_bytes_is_told_so(server):
    given = blob_input(np.zeros(3, "<f4"), datatype="FP32", shape=[1, 4])

    answer = server.infer({"inputs": [given]}, bytes(12))

    assert answer.status == 400
    assert answer.error == (
        "Invalid content size of tensor proto - Expected: 16 bytes; Actual: 12 bytes; input name: x"
    )


@pytest.mark.parametrize(
    ("length", "error"),
    [
        ("999", "Inference-Header-Content-Length header exceeds actual payload length"),
        ("many", "Inference-Header-Content-Length header is invalid and couldn't be parsed"),
    ],
)
def test_a_wrong_length_of_the_json_is_told_so(server, length, error):
    answer = server.call(
        "POST", "/v2/models/m/infer", b"{}", Inference_Header_Content_Length=length
    )

    assert (answer.status, answer.error) == (500, error)


@pytest.mark.parametrize(
    ("image", "status", "error"),
    [
        (b"", 500, "Bytes contents is empty"),
        (b"this is no image", 500, "Image parsing failed"),
        (image_model.jpeg(1)[:-200], 500, "Image parsing failed"),
    ],
)
def test_a_broken_image_is_told_so(classifier, image, status, error):
    body, header_length = image_model.request(image)

    answer = classifier.call(
        "POST", "/v2/models/m/infer", body, Inference_Header_Content_Length=str(header_length)
    )

    assert (answer.status, answer.error) == (status, error)
    assert classifier.get("/v2/models/m/ready").status == 200


def test_a_huge_content_length_is_refused_before_the_body_comes(server):
    with socket.create_connection((server.address, server.port), 10) as connection:
        connection.sendall(
            b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
        )
        reply = connection.recv(4096)

    assert reply.startswith(b"HTTP/1.1 413 ")
    assert server.infer({"inputs": [NUMBERS]}).status == 200


def test_what_is_no_http_hurts_nobody(server):
    with socket.create_connection((server.address, server.port), 10) as connection:
        connection.sendall(gzip.compress(b"hello") + b"\r\n\r\n")
        connection.recv(4096)

    assert server.infer({"inputs": [NUMBERS]}).status == 200


def test_a_client_that_leaves_early_hurts_nobody(server):
    for _ in range(20):
        with socket.create_connection((server.address, server.port), 10) as connection:
            connection.sendall(
                b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"
            )

    assert server.infer({"inputs": [NUMBERS]}).status == 200
    wait_until(lambda: server.metric('ovms_current_requests{name="m",version="1"}') == 0)
    assert "level=error" not in server.log.read_text()


# Metrics


def test_requests_are_counted(tmp_path):
    models.times(tmp_path / "1", 2)
    success = 'ovms_requests_success{api="KServe",interface="REST",method="%s",name="m"%s}'
    fail = 'ovms_requests_fail{api="KServe",interface="REST",method="ModelInfer",name="m"%s}'
    version = ',version="1"'

    with started(tmp_path, log=tmp_path / "log") as server:
        before = server.metric(success % ("ModelInfer", version))
        server.infer({"inputs": [NUMBERS]})
        server.infer({"inputs": []})
        server.get("/v2/models/m")
        server.get("/v2/models/m/ready")
        server.get("/v2/models/nope")

        assert before == 0
        assert server.metric(success % ("ModelInfer", version)) == 1
        assert server.metric(success % ("ModelMetadata", version)) == 1
        assert server.metric(success % ("ModelReady", "")) == 1
        assert server.metric(fail % version) == 1
        times = 'ovms_inference_time_us_count{name="m",version="1"}'
        assert server.metric(times) == 1
        assert server.metric('ovms_streams{name="m",version="1"}') >= 1
        metrics = server.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert (
        b"# HELP ovms_requests_success Number of successful requests to a model or a DAG.\n"
        b"# TYPE ovms_requests_success counter\n"
    ) in metrics.body


def test_metrics_are_off_unless_asked_for(tmp_path):
    models.times(tmp_path / "1", 2)

    with started(tmp_path, "--metrics_enable=false", log=tmp_path / "log") as server:
        answer = server.get("/metrics")

    assert (answer.status, answer.error) == (400, "Invalid request URL")


# Versions


def test_the_highest_version_is_served_and_a_new_one_takes_over(tmp_path):
    models.times(tmp_path / "2", 2)
    models.times(tmp_path / "10", 10)
    given = {"inputs": [NUMBERS]}

    with started(tmp_path, "--file_system_poll_wait_seconds=1", log=tmp_path / "log") as server:
        first = server.infer(given).json
        models.times(tmp_path / "building", 11)
        (tmp_path / "building").rename(tmp_path / "11")
        wait_until(lambda: server.get("/v2/models/m").json["versions"] == ["11"])
        second = server.infer(given).json
        retired = server.get("/v2/models/m/versions/10/ready")

    assert (first["model_version"], first["outputs"][0]["data"]) == ("10", [10, 20, 30, 40])
    assert (second["model_version"], second["outputs"][0]["data"]) == ("11", [11, 22, 33, 44])
    assert retired.status == 404


def test_a_new_version_that_is_broken_leaves_the_old_one_serving(tmp_path):
    models.times(tmp_path / "1", 2)

    with started(tmp_path, "--file_system_poll_wait_seconds=1", log=tmp_path / "log") as server:
        (tmp_path / "2").mkdir()
        (tmp_path / "2" / "model.onnx").write_bytes(b"this is no model")
        wait_until(lambda: "still serving the old versions" in server.log.read_text())
        answer = server.infer({"inputs": [NUMBERS]})
        broken = server.get("/v2/models/m/versions/2/ready")
        models.onnx_times_two(tmp_path / "2" / "model.onnx")
        wait_until(lambda: server.get("/v2/models/m").json["versions"] == ["2"])

    assert answer.json["model_version"] == "1"
    assert broken.error == "Model with requested version is not loaded yet"


# Start and stop


def test_the_server_is_live_and_not_ready_while_it_loads(tmp_path):
    # A pipe that nobody writes to: reading the model takes for ever.
    (tmp_path / "1").mkdir()
    os.mkfifo(tmp_path / "1" / "model.onnx")

    with started(tmp_path, log=tmp_path / "log", ready=False) as server:
        wait_until(lambda: "loading" in server.log.read_text())
        live = server.get("/v2/health/live")
        ready = server.get("/v2/health/ready")
        model = server.get("/v2/models/m/ready")
        code = server.stop()

    assert live.status == 200
    assert (ready.status, ready.error) == (503, "Server is not ready")
    assert (model.status, model.error) == (404, "Model with requested version is not loaded yet")
    assert code == 0


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("1/model.onnx", b"this is no model", "version 1: cannot read"),
        ("1/model.xml", b"<net/>", "model.bin is missing beside model.xml"),
        ("1/notes.txt", b"", "no model in"),
        ("model.onnx", b"", "Not a single model version directory has valid numeric name"),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_the_process_with_its_cause(
    tmp_path, name, content, cause
):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)

    ended = run("--model_name=m", f"--model_path={tmp_path}", *local(free_port()))

    assert ended.returncode == 1
    errors = [line for line in ended.stderr.splitlines() if "level=error" in line]
    assert len(errors) == 1
    assert "Failed to load model m" in errors[0]
    assert cause in errors[0]


def test_a_layout_that_does_not_fit_ends_the_process_with_its_cause(tmp_path):
    models.times(tmp_path / "1", 2)

    ended = run(
        "--model_name=m", f"--model_path={tmp_path}", "--layout=NHWC:NCHW", *local(free_port())
    )

    assert ended.returncode == 1
    assert "Layout incompatible with given shape" in ended.stderr


def test_a_port_in_use_is_one_clear_line(tmp_path, server):
    ended = run("--model_name=m", f"--model_path={tmp_path}", *local(server.port))

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "Failed to start REST server" in ended.stderr
    assert f"127.0.0.1:{server.port}: Address already in use" in ended.stderr


def local(port):
    return f"--rest_port={port}", "--rest_bind_address=127.0.0.1"


def test_an_unknown_flag_is_named_and_ends_with_64():
    ended = run("--model_name=m", "--model_path=/x", "--rest_port=1", "--colour=red")

    assert ended.returncode == 64
    assert ended.stderr == "error parsing options - unmatched arguments: --colour=red\n"


@pytest.mark.parametrize("flags", [[], ["--help"]])
def test_help_is_printed(flags):
    ended = run(*flags)

    assert ended.returncode == 0
    assert "--model_path" in ended.stdout


def test_the_version_is_printed():
    assert run("--version").stdout == f"motorpool-server {__version__}\n"


def test_it_listens_where_it_is_told_to(tmp_path):
    models.times(tmp_path / "1", 2)

    with started(
        tmp_path, "--rest_bind_address=127.0.0.1,127.64.0.7", log=tmp_path / "log"
    ) as server:
        first = server.get("/v2/health/live")
        server.address = "127.64.0.7"
        second = server.get("/v2/health/live")
        server.address = "127.0.0.3"
        with pytest.raises(ConnectionRefusedError):
            server.get("/v2/health/live")

    assert (first.status, second.status) == (200, 200)


def test_sigterm_lets_requests_in_flight_finish(tmp_path):
    models.slow(tmp_path / "1")
    array = np.zeros((1200, 1200), "<f4")
    answers = []

    with started(tmp_path, log=tmp_path / "log") as server:
        document = {"inputs": [blob_input(array, datatype="FP32")]}
        request = threading.Thread(
            target=lambda: answers.append(server.infer(document, array.tobytes()))
        )
        request.start()
        wait_until(lambda: server.metric('ovms_current_requests{name="m",version="1"}') == 1)
        code = server.stop()
        request.join()
        with pytest.raises(ConnectionRefusedError):
            server.get("/v2/health/live")

    assert code == 0
    assert [answer.status for answer in answers] == [200]


def test_a_crash_in_native_code_tells_where_it_was(tmp_path):
    models.times(tmp_path / "1", 2)

    with started(tmp_path, log=tmp_path / "log") as server:
        server.process.send_signal(signal.SIGSEGV)
        code = server.process.wait(60)

    assert code == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in server.log.read_text()


def test_the_model_may_be_gone_once_it_is_loaded(tmp_path):
    models.times(tmp_path / "1", 2)

    with started(tmp_path, "--file_system_poll_wait_seconds=0", log=tmp_path / "log") as server:
        shutil.rmtree(tmp_path / "1")
        assert server.infer({"inputs": [NUMBERS]}).status == 200
