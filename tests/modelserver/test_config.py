"""The real server with a config.json: several models, changed while they serve."""

import contextlib
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest

from motorpool.modelserver.protocols import messages
from tests.modelserver import models
from tests.modelserver.server import DEADLINE_S, Server, environment, free_port, run, wait_until

pytestmark = pytest.mark.slow

NUMBERS = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}


@contextlib.contextmanager
def configured(folder, *entries, config=None, flags=("--file_system_poll_wait_seconds=0",)):
    configure(folder, *entries)
    if config is not None:
        (folder / "config.json").write_text(config)
    port, rpc_port, log = free_port(), free_port(), folder / "log"
    command = [
        sys.executable,
        "-m",
        "motorpool.modelserver",
        f"--config_path={folder / 'config.json'}",
        f"--rest_port={port}",
        "--rest_bind_address=127.0.0.1",
        f"--port={rpc_port}",
        "--grpc_bind_address=127.0.0.1",
        "--metrics_enable",
        *flags,
    ]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, env=environment(), text=True)
    server = Server(process, port, log)
    server.grpc = f"127.0.0.1:{rpc_port}"
    try:
        server.wait_until_ready()
        yield server
    finally:
        process.kill()
        process.wait()


def configure(folder, *entries, **more):
    document = {"model_config_list": [{"config": each} for each in entries], **more}
    (folder / "new.json").write_text(json.dumps(document))
    (folder / "new.json").rename(folder / "config.json")


def entry(name, **more):
    return {"name": name, "base_path": name, **more}


def predict(server, name, path=""):
    body = json.dumps({"instances": [[1, 2, 3, 4]]})
    answer = server.call("POST", f"/v1/models/{name}{path}:predict", body)
    assert answer.status == 200, answer.body
    return answer.json["predictions"]


def states(answer):
    return {
        name: [(each["version"], each["state"]) for each in model["model_version_status"]]
        for name, model in answer.json.items()
    }


def reload(server):
    return server.call("POST", "/v1/config/reload")


def test_several_models_are_served_beside_each_other(tmp_path):
    models.times(tmp_path / "a" / "1", 2)
    models.times(tmp_path / "b" / "1", 3)
    models.times(tmp_path / "b" / "4", 4)
    every = {"all": {}}

    with configured(tmp_path, entry("a"), entry("b", model_version_policy=every)) as server:
        config = server.get("/v1/config")
        status = server.get("/v1/models/b")
        one = server.get("/v1/models/b/versions/1")
        missing = server.get("/v1/models/b/versions/9")
        signature = server.get("/v1/models/a/metadata").json
        classify = server.call("POST", "/v1/models/a:classify", b"{}")
        predictions = [
            predict(server, "a"),
            predict(server, "b"),
            predict(server, "b", "/versions/1"),
            predict(server, "b", "/labels/stable"),
        ]
        versions = server.get("/v2/models/b").json["versions"]

    assert states(config) == {
        "a": [("1", "AVAILABLE")],
        "b": [("1", "AVAILABLE"), ("4", "AVAILABLE")],
    }
    assert [each["version"] for each in status.json["model_version_status"]] == ["1", "4"]
    assert one.body == (
        b'{"model_version_status":[{"version":"1","state":"AVAILABLE",'
        b'"status":{"error_code":"OK","error_message":"OK"}}]}'
    )
    assert (missing.status, missing.error) == (404, "Model with requested version is not found")
    inputs = signature["metadata"]["signature_def"]["signatureDef"]["serving_default"]["inputs"]
    assert inputs["x"]["dtype"] == "DT_FLOAT"
    assert [each["size"] for each in inputs["x"]["tensorShape"]["dim"]] == ["1", "4"]
    assert (classify.status, classify.error) == (404, "Requested REST resource not found")
    assert [each[0][0] for each in predictions] == [2, 4, 3, 4]
    assert versions == ["1", "4"]


def test_a_change_of_the_file_is_taken_over_on_demand(tmp_path):
    models.times(tmp_path / "a" / "1", 2)
    models.times(tmp_path / "b" / "1", 3)
    ready = 'ovms_requests_success{api="KServe",interface="REST",method="ModelReady",name="%s"}'

    with configured(tmp_path, entry("a")) as server:
        unchanged = reload(server)
        configure(tmp_path, entry("a", nireq=2), entry("b"))
        changed = reload(server)
        both = predict(server, "a") + predict(server, "b")
        series = [server.metric(ready % "a"), server.metric(ready % "b")]
        configure(tmp_path, entry("b"))
        removed = reload(server)
        gone = server.get("/v2/models/a/ready")
        metrics = server.get("/metrics").body
        configure(tmp_path, entry("a"), entry("b"))
        again = reload(server)
        back = predict(server, "a")

    assert (unchanged.status, changed.status) == (200, 201)
    assert states(changed) == {"a": [("1", "AVAILABLE")], "b": [("1", "AVAILABLE")]}
    assert [row[0] for row in both] == [2, 3]
    assert series == [0, 0]
    assert (removed.status, states(removed)) == (201, {"b": [("1", "AVAILABLE")]})
    assert gone.status == 404
    assert b'name="a"' not in metrics
    assert (again.status, back[0][0]) == (201, 2)


def test_what_is_wrong_in_the_file_changes_nothing_that_is_served(tmp_path):
    models.times(tmp_path / "a" / "1", 2)
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "model.onnx").write_bytes(b"this is no model")

    with configured(tmp_path, entry("a")) as server:
        (tmp_path / "config.json").write_text("{")
        no_json = reload(server)
        configure(tmp_path, entry("a", colour="red"))
        unknown = reload(server)
        (tmp_path / "config.json").unlink()
        missing = reload(server)
        configure(tmp_path, entry("a"), entry("broken"))
        partly = reload(server)
        status = server.get("/v1/config")
        served = predict(server, "a")

    text = "Reloading config file failed. Check server logs for more info."
    assert (no_json.status, no_json.error) == (412, text)
    assert unknown.status == 412
    assert (missing.status, missing.error) == (500, "Config file not found or cannot open.")
    assert missing.body.startswith(b'{\n\t"error": ')
    assert partly.status == 500
    assert states(status) == {"a": [("1", "AVAILABLE")], "broken": [("1", "LOADING")]}
    broken = status.json["broken"]["model_version_status"][0]
    assert broken["status"] == {"error_code": "UNKNOWN", "error_message": "UNKNOWN"}
    assert served[0][0] == 2


def test_a_file_that_says_nothing_sensible_ends_the_start(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_config_list": [], "mediapipe_config_list": [{}]}'
    )

    ended = run(
        f"--config_path={tmp_path / 'config.json'}",
        f"--rest_port={free_port()}",
        "--rest_bind_address=127.0.0.1",
    )

    assert ended.returncode == 1
    assert "MediaPipe graphs are not served here" in ended.stderr


def test_models_versions_and_settings_roll_over_without_a_failed_request(tmp_path):
    models.times(tmp_path / "a" / "1", 2)
    stop = threading.Event()
    failures, answers = [], []

    def ask(server):
        while not stop.is_set():
            answer = server.call("POST", "/v2/models/a/infer", json.dumps({"inputs": [NUMBERS]}))
            (answers if answer.status == 200 else failures).append(answer.body)

    with configured(tmp_path, entry("a"), flags=["--file_system_poll_wait_seconds=1"]) as server:
        clients = [threading.Thread(target=ask, args=(server,)) for _ in range(3)]
        for client in clients:
            client.start()
        try:
            models.times(tmp_path / "building", 7)
            (tmp_path / "building").rename(tmp_path / "a" / "2")
            wait_until(lambda: server.get("/v2/models/a").json["versions"] == ["2"])
            for shape in ("(1:8,4)", "auto", "(1,4)"):
                configure(tmp_path, entry("a", shape=shape))
                reload(server)
            shutil.rmtree(tmp_path / "a" / "2")
            wait_until(lambda: server.get("/v2/models/a").json["versions"] == ["1"])
        finally:
            stop.set()
            for client in clients:
                client.join()

    assert failures == []
    assert len(answers) > 50
    assert {json.loads(each)["model_version"] for each in answers} == {"1", "2"}


def test_what_a_removed_model_held_is_given_back(tmp_path):
    models.times(tmp_path / "small" / "1", 2)
    models.table(tmp_path / "large" / "1", megabytes=96)

    def resident():
        lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    with configured(tmp_path, entry("small")) as server:
        without = resident()
        configure(tmp_path, entry("small"), entry("large"))
        reload(server)
        with_it = resident()
        configure(tmp_path, entry("small"))
        reload(server)
        wait_until(lambda: resident() < without + 40_000)

    assert with_it > without + 80_000


def test_tensorflow_serving_is_spoken_over_grpc(tmp_path):
    models.times(tmp_path / "a" / "1", 2)
    spec = messages.message("tensorflow.serving.ModelSpec")(name="a")

    def call(service, method, request, **fields):
        pool = messages.service(f"tensorflow.serving.{service}").methods_by_name[method]
        ask = messages.message(pool.input_type.full_name)
        rpc = channel.unary_unary(
            f"/tensorflow.serving.{service}/{method}",
            request_serializer=ask.SerializeToString,
            response_deserializer=messages.message(pool.output_type.full_name).FromString,
        )
        return rpc(ask(model_spec=request, **fields), timeout=DEADLINE_S)

    def tensor(**values):
        made = messages.message("tensorflow.TensorProto")(dtype="DT_FLOAT", **values)
        made.tensor_shape.dim.add(size=1)
        made.tensor_shape.dim.add(size=4)
        return made

    with configured(tmp_path, entry("a")) as server, grpc.insecure_channel(server.grpc) as channel:
        typed = call(
            "PredictionService", "Predict", spec, inputs={"x": tensor(float_val=[1, 2, 3, 4])}
        )
        content = np.array([1, 2, 3, 4], "<f4").tobytes()
        raw = call(
            "PredictionService", "Predict", spec, inputs={"x": tensor(tensor_content=content)}
        )
        metadata = call("PredictionService", "GetModelMetadata", spec)
        status = call("ModelService", "GetModelStatus", spec)
        with pytest.raises(grpc.RpcError) as wrong:
            call("PredictionService", "Predict", spec, inputs={"z": tensor()})
        with pytest.raises(grpc.RpcError) as missing:
            other = messages.message("tensorflow.serving.ModelSpec")(name="nope")
            call("ModelService", "GetModelStatus", other)
        predicted = (
            'ovms_requests_success{api="TensorFlowServing",interface="gRPC",'
            'method="Predict",name="a",version="1"}'
        )
        counted = server.metric(predicted)

    for response in (typed, raw):
        assert np.frombuffer(response.outputs["y"].tensor_content, "<f4").tolist() == [2, 4, 6, 8]
        assert response.model_spec.version.value == 1
    signatures = messages.message("tensorflow.serving.SignatureDefMap")()
    metadata.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["x"].dtype == 1
    assert [(each.version, each.state) for each in status.model_version_status] == [(1, 30)]
    assert wrong.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Missing input with specific name - Required input: x" in wrong.value.details()
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    assert counted == 2


def test_shapes_of_the_command_line_are_those_of_requests(tmp_path):
    models.times(tmp_path / "a" / "1", 2)
    wide = {"name": "x", "shape": [2, 6], "datatype": "FP32", "data": list(range(12))}

    with configured(tmp_path, entry("a", shape="(1:3,-1)")) as server:
        shape = server.get("/v2/models/a").json["inputs"][0]["shape"]
        good = server.call("POST", "/v2/models/a/infer", json.dumps({"inputs": [wide]}))
        tall = wide | {"shape": [4, 3]}
        refused = server.call("POST", "/v2/models/a/infer", json.dumps({"inputs": [tall]}))

    assert shape == [-1, -1]
    assert good.json["outputs"][0]["data"] == [2 * each for each in range(12)]
    assert refused.error == ("Invalid input batch size - Expected: [1~3]; Actual: 4; input name: x")


def test_pixels_are_prepared_as_the_command_line_says(tmp_path):
    models.times(tmp_path / "a" / "1", 1, (1, 3, 1, 2))
    steps = {
        "layout": "NHWC:NCHW",
        "precision": "uint8:fp32",
        "color_format": "RGB:BGR",
        "mean": "[1,2,3]",
        "scale": "2",
    }
    given = {"name": "x", "shape": [1, 1, 2, 3], "datatype": "UINT8", "data": [9, 8, 7, 6, 5, 4]}

    with configured(tmp_path, entry("a", **steps)) as server:
        metadata = server.get("/v2/models/a").json["inputs"]
        answer = server.call("POST", "/v2/models/a/infer", json.dumps({"inputs": [given]}))

    assert metadata == [{"name": "x", "datatype": "UINT8", "shape": [1, 1, 2, 3]}]
    # Turned to blue, green, red; less the mean of each; halved; by channels.
    assert answer.json["outputs"][0]["data"] == [3.0, 1.5, 3.0, 1.5, 3.0, 1.5]


def test_what_browsers_are_told_is_the_users_choice(tmp_path):
    flags = ["--allowed_origins=https://a.example", "--allow_credentials", "--grpc_workers=2"]
    log_file = tmp_path / "file.log"

    with configured(tmp_path, flags=[*flags, f"--log_path={log_file}"]) as server:
        answer = server.get("/v2/health/live")
        empty = server.get("/v1/config")

    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert empty.json == {}
    assert "flags=grpc_workers" in log_file.read_text()
    assert log_file.read_bytes() == server.log.read_bytes()


def test_the_file_may_choose_the_metrics(tmp_path):
    models.times(tmp_path / "a" / "1", 2)
    wanted = {"metrics": {"enable": True, "metrics_list": ["ovms_infer_req_active"]}}
    configure(tmp_path, entry("a"), monitoring=wanted)
    content = (tmp_path / "config.json").read_text()

    with configured(
        tmp_path, entry("a"), config=content, flags=["--metrics_enable=false"]
    ) as server:
        metrics = server.get("/metrics").body.decode()
    configure(tmp_path, monitoring={"metrics": {"enable": True, "metrics_list": ["nope"]}})
    ended = run(f"--config_path={tmp_path / 'config.json'}", f"--rest_port={free_port()}")

    assert "ovms_infer_req_active{" in metrics
    assert "ovms_requests_success" not in metrics
    assert ended.returncode == 1
    assert "there is no metric named nope" in ended.stderr
