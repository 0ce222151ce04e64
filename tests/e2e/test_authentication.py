"""A protected model on the running platform: who may comes in, nobody else does, whatever dies."""

import json
import os
import ssl
import subprocess
import time

import grpc
import pytest
import yaml

from tests.e2e.conftest import DIGITS
from tests.load import Load
from tests.platform import eventually, running
from tests.programs import program

pytestmark = pytest.mark.slow

ANNOTATION = "security.opendatahub.io/enable-auth"
HOST = "digits-default.apps.localhost"
CACHE_S = 30  # how long a right that is taken away may go on being believed

PROTECTED = f"""
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  annotations:
    {ANNOTATION}: "true"
  labels:
    networking.kserve.io/visibility: exposed
spec:
  predictor:
    model:
      protocolVersion: v2
      modelFormat:
        name: openvino_ir
      storageUri: oci://localhost/digits:1
"""
ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: digits-user
rules:
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  resourceNames: [digits]
  verbs: [get]
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with running(tmp_path_factory.mktemp("authentication") / "data") as platform:
        built = platform.run("modelcar", "build", str(DIGITS / "model"), "-t", "localhost/digits:1")
        assert built.returncode == 0, built.stderr
        runtime = DIGITS / "manifests" / "servingruntime.yaml"
        platform.kubectl("apply", "-f", str(runtime))
        platform.kubectl("apply", "-f", "-", stdin=PROTECTED)
        platform.kubectl("wait", "--for=condition=Ready", "isvc/digits", "--timeout=60s")
        for name in ("friend", "stranger"):
            platform.kubectl("create", "sa", name)
        platform.kubectl("apply", "-f", "-", stdin=ROLE)
        grant(platform)
        yield platform


def grant(platform):
    platform.kubectl("create", "rolebinding", "digits-user", "--role=digits-user",
                     "--serviceaccount=default:friend")  # fmt: skip


def token(platform, name):
    return platform.kubectl("create", "token", name).strip()


def ask(platform, bearer="", path="/v2/models/digits/ready", host=HOST, words=()):
    """Status and body through the Route, by TLS that is verified."""
    port = platform.endpoints["https"].rsplit(":", 1)[1]
    authority = platform.data_dir / "pki" / "ca.crt"
    given = ["-H", f"Authorization: Bearer {bearer}"] if bearer else []
    done = subprocess.run(
        [program("curl"), "-sS", "--max-time", "20", "-w", "\n%{http_code}", "--cacert",
         str(authority), "--connect-to", f"{host}:443:127.0.0.1:{port}", *given, *words,
         f"https://{host}{path}"],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def status(platform, bearer="", **more):
    return ask(platform, bearer, **more)[0]


def test_the_status_names_the_route_and_the_proxy(platform):
    found = platform.kubectl_json("get", "isvc", "digits")["status"]
    port = platform.endpoints["https"].rsplit(":", 1)[1]
    assert found["url"] == f"https://{HOST}:{port}"
    address = "https://digits-predictor.default.svc.cluster.local:8443"
    assert found["address"]["url"] == address
    route = platform.kubectl_json("get", "route", "digits")["spec"]
    assert route["tls"]["termination"] == "reencrypt"
    bindings = platform.kubectl("get", "clusterrolebinding")
    assert "default-default-auth-delegator" in bindings


def test_no_token_a_stranger_s_and_a_friend_s(platform):
    assert status(platform) == 401
    assert status(platform, "no-token-at-all") == 401
    code, body = ask(platform, token(platform, "stranger"))
    assert code == 403
    assert "system:serviceaccount:default:stranger may not get inferenceservices/digits" in body
    friend = token(platform, "friend")
    assert status(platform, friend) == 200
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 8, 8, 1], "data": [0.5] * 64}
    words = ["-d", json.dumps({"inputs": [tensor]})]
    code, body = ask(platform, friend, "/v2/models/digits/infer", words=words)
    assert code == 200, body
    assert len(json.loads(body)["outputs"][0]["data"]) == 10


def test_plain_http_is_sent_to_tls_and_never_on_to_the_model(platform):
    answer = platform.curl(f"http://{HOST}/v2/models/digits/ready", "-i")
    assert " 302 " in answer.splitlines()[0]


def test_no_other_port_of_the_pod_is_behind_the_service(platform):
    by_hand = {
        "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "around"},
        "spec": {
            "host": "around.apps.localhost", "port": {"targetPort": 8888},
            "to": {"kind": "Service", "name": "digits-predictor"},
            "alternateBackends": [{"kind": "Service", "name": "digits-predictor"}],
        },
    }  # fmt: skip
    platform.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(by_hand))
    try:
        platform.kubectl("wait", "--for=jsonpath={.status.ingress[0].host}=around.apps.localhost",
                         "route/around", "--timeout=20s")  # fmt: skip
        eventually(lambda: " 503 " in platform.curl("http://around.apps.localhost/v2", "-i"))
    finally:
        platform.kubectl("delete", "route", "around")


def test_a_right_that_is_taken_away_ends_within_the_cache_s_time(platform):
    friend = token(platform, "friend")
    assert status(platform, friend) == 200
    platform.kubectl("delete", "rolebinding", "digits-user")
    started = time.monotonic()
    eventually(lambda: status(platform, friend) == 403, deadline_s=CACHE_S + 10)
    assert time.monotonic() - started < CACHE_S + 5
    grant(platform)
    eventually(lambda: status(platform, friend) == 200, deadline_s=CACHE_S)


def test_grpc_passes_with_the_token_as_metadata(platform):
    """Straight to the pod: a runtime whose port speaks gRPC gets a proxy that does."""
    runtime = yaml.safe_load((DIGITS / "manifests" / "servingruntime.yaml").read_text())
    runtime["metadata"]["name"] = "ovms-grpc"
    runtime["spec"]["supportedModelFormats"] = [{"name": "openvino_ir", "version": "opset13"}]
    container = runtime["spec"]["containers"][0]
    container["ports"] = [{"name": "h2c", "containerPort": 8001, "protocol": "TCP"}]
    wanted = yaml.safe_load(PROTECTED)
    wanted["metadata"]["name"] = "digits-grpc"
    del wanted["metadata"]["labels"]
    wanted["spec"]["predictor"]["model"]["runtime"] = "ovms-grpc"
    platform.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([runtime, wanted]))
    platform.kubectl("wait", "--for=condition=Ready", "isvc/digits-grpc", "--timeout=60s")
    pods = platform.kubectl_json("get", "pods", "-l", "app=isvc.digits-grpc-predictor")["items"]
    authority = grpc.ssl_channel_credentials((platform.data_dir / "pki" / "ca.crt").read_bytes())
    name = "digits-grpc-predictor.default.svc"
    options = [("grpc.ssl_target_name_override", name)]
    address = f"{pods[0]['status']['podIP']}:8443"
    with grpc.secure_channel(address, authority, options) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        with pytest.raises(grpc.RpcError) as refused:
            live(b"", timeout=20)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", f"Bearer {token(platform, 'stranger')}")]
        with pytest.raises(grpc.RpcError) as refused:
            live(b"", metadata=metadata, timeout=20)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        administrator = yaml.safe_load((platform.data_dir / "kubeconfig").read_text())
        bearer = administrator["users"][0]["user"]["token"]
        assert (
            live(b"", metadata=[("authorization", f"Bearer {bearer}")], timeout=20) == b"\x08\x01"
        )
    platform.kubectl("delete", "isvc/digits-grpc", "servingruntime/ovms-grpc")


def test_who_may_goes_on_while_the_control_plane_is_dead(platform):
    friend, stranger = token(platform, "friend"), token(platform, "stranger")
    assert status(platform, friend) == 200
    platform.kill()
    started = time.monotonic()
    while time.monotonic() < started + CACHE_S + 5:
        assert status(platform, friend) == 200
        assert status(platform) == 401
        time.sleep(0.5)
    assert status(platform, stranger) == 503, "whoever was not known before cannot be checked"
    platform.start()
    eventually(lambda: status(platform, stranger) == 403, deadline_s=CACHE_S)
    assert status(platform, friend) == 200


def test_a_proxy_that_dies_comes_back_and_nothing_was_open(platform):
    friend = token(platform, "friend")
    assert status(platform, friend) == 200
    (pid,) = envoys_of_pods(platform)
    os.kill(pid, 9)
    seen = set()

    def is_back():
        seen.add(status(platform))
        return 401 in seen and status(platform, friend) == 200

    eventually(is_back)
    assert seen <= {401, 503}


def envoys_of_pods(platform):
    found = []
    for pid in platform.model_servers():
        with open(f"/proc/{pid}/cmdline") as words:  # noqa: PTH123
            if "/_bin/envoy" in words.read():
                found.append(pid)
    return found


def test_pods_that_come_and_go_cost_no_permitted_caller_a_request(platform):
    context = ssl.create_default_context(cafile=str(platform.data_dir / "pki" / "ca.crt"))
    context.check_hostname = False
    port = int(platform.endpoints["https"].rsplit(":", 1)[1])
    friend = token(platform, "friend")
    assert eventually(lambda: status(platform, friend) == 200, deadline_s=CACHE_S)
    scale(platform, 2)
    with Load(port, HOST, "/v2/models/digits/ready", context=context, token=friend) as load:
        deployment = "deployment/digits-predictor"
        platform.kubectl("rollout", "restart", deployment)
        platform.kubectl("rollout", "status", deployment, "--timeout=60s")
        (pid, _) = envoys_of_pods(platform)[:2]
        os.kill(pid, 9)
        answered = load.answered
        eventually(lambda: load.answered > answered + 200)
        eventually(lambda: len(envoys_of_pods(platform)) == 2)
    assert load.failures == []
    scale(platform, 1)


def scale(platform, replicas):
    change = {"spec": {"predictor": {"minReplicas": replicas, "maxReplicas": replicas}}}
    platform.kubectl("patch", "isvc", "digits", "--type=merge", "-p", json.dumps(change))

    def ready():
        pods = platform.kubectl_json("get", "pods", "-l", "app=isvc.digits-predictor")["items"]
        states = [each["status"].get("containerStatuses") or [] for each in pods]
        return len(pods) == replicas and all(s and all(c["ready"] for c in s) for s in states)

    eventually(ready, deadline_s=60)


def test_the_certificate_is_the_service_s_own_and_the_platform_s_authority_signs_it(platform):
    (pod,) = platform.kubectl_json("get", "pods", "-l", "app=isvc.digits-predictor")["items"]
    context = ssl.create_default_context(cafile=str(platform.data_dir / "pki" / "ca.crt"))
    context.check_hostname = False
    import socket

    with (
        socket.create_connection((pod["status"]["podIP"], 8443), timeout=10) as plain,
        context.wrap_socket(plain) as secured,
    ):
        names = [value for _, value in secured.getpeercert()["subjectAltName"]]
    short = "digits-predictor.default.svc"
    assert {short, f"{short}.cluster.local"} <= set(names)


def test_off_again_is_as_before(platform):
    platform.kubectl("annotate", "--overwrite", "isvc", "digits", f"{ANNOTATION}=false")
    eventually(lambda: status(platform) == 200, what="open again")
    platform.kubectl("rollout", "status", "deployment/digits-predictor", "--timeout=60s")
    service = platform.kubectl_json("get", "svc", "digits-predictor")
    assert service["spec"]["ports"][0]["port"] == 80
    assert "serving-cert" not in json.dumps(service["metadata"]["annotations"])
    deployment = platform.kubectl_json("get", "deployment", "digits-predictor")
    names = [c["name"] for c in deployment["spec"]["template"]["spec"]["containers"]]
    assert names == ["kserve-container"]
    eventually(lambda: "auth-delegator" not in platform.kubectl("get", "clusterrolebinding",
                                                               "-o", "name"))  # fmt: skip
    assert "sar-config" not in platform.kubectl("get", "configmap")

    platform.kubectl("annotate", "--overwrite", "isvc", "digits", f"{ANNOTATION}=true")
    eventually(lambda: status(platform) in (401, 503), what="closed at once")
    eventually(lambda: status(platform) == 401)
