"""What a user's mistake gets: the API's own error, a condition, an event, or one line on stderr."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import DIGITS
from tests.platform import Platform, eventually, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with running(tmp_path_factory.mktemp("bad") / "data") as platform:
        yield platform


def inference_service(name, **model):
    base = {
        "modelFormat": {"name": "openvino_ir"},
        "protocolVersion": "v2",
        "storageUri": "oci://localhost/absent:1",
    }
    return yaml.safe_dump(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name},
            "spec": {"predictor": {"model": base | model}},
        }
    )


def condition(platform, name, condition_type="Ready"):
    status = platform.kubectl_json("get", "isvc", name).get("status", {})
    found = [c for c in status.get("conditions", []) if c["type"] == condition_type]
    return found[0] if found else {}


def events(platform, name):
    listed = platform.kubectl_json("get", "events")["items"]
    return [
        f"{e['reason']}: {e['message']}"
        for e in listed
        if e["involvedObject"]["name"].startswith(name)
    ]


# ---- What the API refuses ------------------------------------------------------------------------


def apply(platform, text):
    return platform.kubectl("apply", "-f", "-", stdin=text, check=False)


def test_malformed_yaml_is_named(platform):
    assert "error parsing STDIN" in apply(platform, "a: [1, 2\nb: }")


def test_an_unknown_field_is_named_with_its_path(platform):
    said = apply(platform, inference_service("typo", storageUrl="oci://localhost/x:1"))

    assert "strict decoding error" in said
    assert 'unknown field "spec.predictor.model.storageUrl"' in said


def test_an_unknown_field_of_a_built_in_kind_is_named_too(platform):
    said = apply(
        platform,
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {portz: [], ports: [{port: 1}]}",
    )

    assert 'unknown field "spec.portz"' in said


def test_a_wrong_type_is_named(platform):
    said = apply(platform, inference_service("wrong-type", args="--layout=NHWC"))

    assert "spec.predictor.model.args" in said
    assert "must be of type array" in said


def test_a_name_that_is_no_dns_label_is_refused(platform):
    said = apply(platform, inference_service("Not_A_Label"))

    assert "is invalid" in said
    assert "Not_A_Label" in said


def test_a_second_object_of_the_same_name_exists_already(platform):
    platform.kubectl("create", "ns", "twice")
    said = platform.kubectl("create", "ns", "twice", check=False)

    assert said == ('Error from server (AlreadyExists): namespaces "twice" already exists\n')


def test_a_namespace_that_does_not_exist_is_named(platform):
    said = platform.kubectl(
        "create", "-n", "nowhere", "-f", "-", stdin=inference_service("a"), check=False
    )

    assert 'namespaces "nowhere" not found' in said


# ---- What a condition and an event tell ----------------------------------------------------------


def test_a_format_that_no_runtime_supports(platform):
    apply(platform, inference_service("odd-format", modelFormat={"name": "clay-tablet"}))

    ready = eventually(lambda: condition(platform, "odd-format"))
    assert ready["status"] == "False"
    eventually(
        lambda: "clay-tablet" in condition(platform, "odd-format", "PredictorReady")["message"]
    )
    status = platform.kubectl_json("get", "isvc", "odd-format")["status"]
    assert status["modelStatus"]["lastFailureInfo"]["reason"] == "NoSupportingRuntime"
    eventually(lambda: any("clay-tablet" in e for e in events(platform, "odd-format")))


def test_a_storage_uri_that_does_not_exist(platform):
    apply(platform, inference_service("no-model", runtime="kserve-ovms"))

    def told():
        return [e for e in events(platform, "no-model") if "localhost/absent:1" in e]

    eventually(told, what="an event that names the image")
    assert condition(platform, "no-model")["status"] == "False"
    eventually(
        lambda: "localhost/absent:1" in json.dumps(
            platform.kubectl_json("get", "isvc", "no-model")["status"]
        ),
        what="the image in the status",
    )  # fmt: skip


def test_a_model_file_that_is_corrupt(platform, tmp_path):
    shutil.copytree(DIGITS / "model", tmp_path / "model")
    for graph in (tmp_path / "model").rglob("*.xml"):
        graph.write_text("this is no graph")
    built = platform.run("modelcar", "build", str(tmp_path / "model"), "-t", "localhost/broken:1")
    assert built.returncode == 0, built.stderr

    apply(platform, inference_service("broken", storageUri="oci://localhost/broken:1"))

    def failed():
        status = platform.kubectl_json("get", "isvc", "broken").get("status", {})
        return status.get("modelStatus", {}).get("lastFailureInfo")

    info = eventually(failed, deadline_s=60, what="lastFailureInfo")
    assert "model.xml" in json.dumps(info)
    assert condition(platform, "broken")["status"] == "False"


# ---- What `up` itself says -----------------------------------------------------------------------


def up(data_dir, *options, **environment):
    platform = Platform(data_dir)
    return subprocess.run(
        [*platform_command(), "up", "--data-dir", str(data_dir), *options],
        env=platform.environment | environment,
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
    )


def platform_command():
    from tests.platform import MOTORPOOL

    return MOTORPOOL


def one_line(done):
    assert done.returncode not in (0, None)
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("  ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_second_up_on_the_same_directory(platform):
    done = up(platform.data_dir, "--api-port", "0")

    assert str(platform.process.pid) in one_line(done)
    assert platform.process.poll() is None


@pytest.mark.parametrize("option", ["--api-port", "--http-port"])
def test_a_port_in_use_is_named(tmp_path, option):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        others = {"--api-port", "--http-port", "--https-port"} - {option}
        done = up(tmp_path / "data", option, port, *[w for o in others for w in (o, "0")])

    assert port in one_line(done)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "203.0.113.9"), "203.0.113.9 cannot be listened at"),
        (("--host", "no-such-host.invalid"), "no-such-host.invalid cannot be listened at"),
        (("--base-domain", "Bad_Domain!"), "--base-domain Bad_Domain! is no domain"),
        (("--manifests", "/nowhere/at/all"), "--manifests /nowhere/at/all is not a directory"),
    ],
)
def test_an_option_that_cannot_be_met_is_named(tmp_path, options, said):
    ports = [word for name in ("api", "http", "https") for word in (f"--{name}-port", "0")]
    assert said in one_line(up(tmp_path / "data", *ports, *options))


def _is_for_everybody(path):
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


@pytest.mark.skipif(
    os.geteuid() != 0 or not _is_for_everybody(Path(sys.executable).resolve()),
    reason="it takes root, and a Python that others may run",
)
@pytest.mark.parametrize("words", [("down",), ("modelcar", "ls"), ("manifests", "ls"), ("up",)])
def test_the_directory_of_another_user_is_named(platform, words):
    command = [*platform_command(), *words, "--data-dir", str(platform.data_dir)]
    done = subprocess.run(
        command, env=platform.environment, text=True, capture_output=True, check=False,
        user=65534, group=65534, extra_groups=[], timeout=30,
    )  # fmt: skip
    said = one_line(done)
    assert str(platform.data_dir) in said
    assert "denied" in said


def test_a_data_directory_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    done = up(tmp_path / "file")

    assert str(tmp_path / "file") in one_line(done)


def test_a_data_directory_that_is_not_writable(tmp_path):
    if os.geteuid() == 0:
        data_dir = Path("/sys/motorpool")  # Root may write nearly everywhere, but not there.
    else:
        tmp_path.chmod(0o500)
        data_dir = tmp_path / "data"
    environment = Platform(tmp_path / "home").environment | {"MOTORPOOL_DATA_DIR": str(data_dir)}
    done = subprocess.run(
        [*platform_command(), "up"],
        env=environment,
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
    )

    said = one_line(done)
    assert str(data_dir) in said
    assert "not permitted" in said or "denied" in said


def test_envoy_missing(tmp_path):
    done = up(
        tmp_path / "data", "--api-port", "0", "--http-port", "0", "--https-port", "0",
        MOTORPOOL_ENVOY=str(tmp_path / "no-envoy"),
    )  # fmt: skip

    assert "nvoy" in one_line(done)


# ---- An account that is not there ----------------------------------------------------------------


def test_a_service_whose_account_is_missing_says_how_to_make_it_and_goes_on_once_it_is_there(
    platform,
):
    isvc = yaml.safe_load(inference_service("staffed"))
    isvc["spec"]["predictor"]["serviceAccountName"] = "robot"
    apply(platform, yaml.safe_dump(isvc))
    lookup = "error looking up service account default/robot"
    found = eventually(
        lambda: (
            lookup in condition(platform, "staffed").get("message", "")
            and condition(platform, "staffed")
        )
    )
    assert (found["status"], found["reason"]) == ("False", "FailedCreate")
    assert 'serviceaccount "robot" not found' in found["message"]
    assert "kubectl create serviceaccount robot -n default" in found["message"]
    assert eventually(lambda: [e for e in events(platform, "staffed-predictor") if lookup in e])
    assert eventually(
        lambda: [e for e in events(platform, "staffed") if "kubectl create serviceaccount" in e]
    )
    platform.kubectl("create", "serviceaccount", "robot")
    eventually(lambda: lookup not in condition(platform, "staffed").get("message", ""))
    pods = platform.kubectl_json("get", "pods")["items"]
    assert any(pod["metadata"]["name"].startswith("staffed-predictor-") for pod in pods)


def test_a_pod_whose_account_is_missing_is_refused(platform):
    spec = {"serviceAccountName": "nobody", "containers": [{"name": "main", "image": "i"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lonely"}, "spec": spec}
    assert (
        'pods "lonely" is forbidden: error looking up service account default/nobody: '
        'serviceaccount "nobody" not found'
    ) in apply(platform, yaml.safe_dump(pod))


def test_a_pod_of_a_namespace_made_this_moment_is_taken(platform):
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "early", "namespace": "fresh"},
        "spec": {"containers": [{"name": "main", "image": "i"}]},
    }  # fmt: skip
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fresh"}}
    assert "pod/early created" in apply(platform, yaml.safe_dump_all([namespace, pod]))
