"""Manifests written for vLLM on GPUs, as guides for OpenShift AI have them, on this machine.

As they stand but for three things: the ModelCar is a tiny one of ours, the resources are those of a
small machine without a GPU, and the probe need not wait for a large model. The openai client calls
through the Route.
"""

import os
import signal

import httpx
import openai
import pytest

from tests.e2e.openai_clients import client_of
from tests.modelserver.llm.checkpoints import make_checkpoint
from tests.platform import descendants, eventually, processes, running
from tests.programs import without

pytestmark = [pytest.mark.slow, without("openvino_genai")]

# Runtime and service in one list; what a first try looks like.
BASIC = """
apiVersion: v1
kind: List
items:
- apiVersion: serving.kserve.io/v1alpha1
  kind: ServingRuntime
  metadata:
    name: basic-runtime
    labels: {opendatahub.io/dashboard: 'true'}
  spec:
    containers:
    - name: kserve-container
      image: quay.io/modh/vllm:rhoai-2.20-cuda
      args: ['--port=8080', '--model=/mnt/models', '--served-model-name={{.Name}}']
      command: [python, '-m', vllm.entrypoints.openai.api_server]
    supportedModelFormats:
    - {name: vLLM, autoSelect: true}
- apiVersion: serving.kserve.io/v1beta1
  kind: InferenceService
  metadata:
    name: basic
    labels: {opendatahub.io/dashboard: 'true'}
  spec:
    predictor:
      model:
        modelFormat: {name: vLLM}
        runtime: basic-runtime
        storageUri: oci://localhost/tiny:1
- apiVersion: route.openshift.io/v1
  kind: Route
  metadata: {name: basic}
  spec:
    to: {kind: Service, name: basic-predictor}
"""

# An image by its digest, arguments of the service after the runtime's, shared memory.
STANDARD = """
apiVersion: v1
kind: List
items:
- apiVersion: serving.kserve.io/v1alpha1
  kind: ServingRuntime
  metadata:
    name: standard-runtime
    annotations:
      opendatahub.io/accelerator-name: migrated-gpu
      opendatahub.io/recommended-accelerators: '["nvidia.com/gpu"]'
      openshift.io/display-name: Standard
  spec:
    annotations: {prometheus.io/path: /metrics, prometheus.io/port: '8080'}
    multiModel: false
    containers:
    - name: kserve-container
      image: quay.io/modh/vllm@sha256:DIGEST
      args:
      - --port=8080
      - --model=/mnt/models
      - --served-model-name={{.Name}}
      - --tensor-parallel-size=1
      command: [python, '-m', vllm.entrypoints.openai.api_server]
      env:
      - {name: HF_HOME, value: /tmp/hf_home}
      ports:
      - {containerPort: 8080, protocol: TCP}
      volumeMounts:
      - {mountPath: /dev/shm, name: shm}
    supportedModelFormats:
    - {name: vLLM, autoSelect: true}
    volumes:
    - name: shm
      emptyDir: {medium: Memory, sizeLimit: 2Gi}
- apiVersion: serving.kserve.io/v1beta1
  kind: InferenceService
  metadata:
    name: standard
    annotations:
      serving.kserve.io/deploymentMode: RawDeployment
    labels:
      networking.kserve.io/visibility: exposed
  spec:
    predictor:
      minReplicas: 1
      maxReplicas: 1
      model:
        modelFormat: {name: vLLM}
        runtime: standard-runtime
        storageUri: oci://localhost/tiny:1
        args: ['--max-model-len=256']
      tolerations:
      - {effect: NoSchedule, key: nvidia.com/gpu, operator: Exists}
"""

# A probe, a named port, flags for several GPUs, autoscaling, a Route with TLS.
ADVANCED = """
apiVersion: v1
kind: List
items:
- apiVersion: serving.kserve.io/v1alpha1
  kind: ServingRuntime
  metadata:
    name: advanced-runtime
    annotations: {opendatahub.io/apiProtocol: REST}
  spec:
    containers:
    - name: kserve-container
      image: quay.io/modh/vllm:rhoai-2.20-cuda
      args:
      - --port=8080
      - --model=/mnt/models
      - --served-model-name={{.Name}}
      - --tensor-parallel-size=2
      - --max-model-len=512
      - --max-num-seqs=256
      command: [python, '-m', vllm.entrypoints.openai.api_server]
      env:
      - {name: HF_HOME, value: /tmp/hf_home}
      - {name: VLLM_ATTENTION_BACKEND, value: FLASHINFER}
      ports:
      - {containerPort: 8080, name: http, protocol: TCP}
      volumeMounts:
      - {mountPath: /dev/shm, name: shm}
      readinessProbe:
        httpGet: {path: /health, port: http}
        initialDelaySeconds: 1
        periodSeconds: 1
    supportedModelFormats:
    - {name: vLLM, autoSelect: true}
    volumes:
    - name: shm
      emptyDir: {medium: Memory, sizeLimit: 2Gi}
- apiVersion: serving.kserve.io/v1beta1
  kind: InferenceService
  metadata:
    name: advanced
    annotations:
      security.opendatahub.io/enable-auth: 'true'
      serving.kserve.io/deploymentMode: RawDeployment
      serving.kserve.io/enable-prometheus-scraping: 'true'
    labels: {networking.kserve.io/visibility: exposed}
  spec:
    predictor:
      minReplicas: 1
      maxReplicas: 3
      scaleTarget: 80
      scaleMetric: cpu
      model:
        modelFormat: {name: vLLM}
        runtime: advanced-runtime
        storageUri: oci://localhost/tiny:1
        args: ['--max-model-len=256', '--gpu-memory-utilization=0.95']
        resources:
          requests: {cpu: 100m, memory: 256Mi}
          limits: {cpu: '2', memory: 4Gi}
- apiVersion: route.openshift.io/v1
  kind: Route
  metadata:
    name: advanced-tls
    labels: {inferenceservice-name: advanced}
  spec:
    to: {kind: Service, name: advanced-predictor, weight: 100}
    port: {targetPort: http}
    tls: {termination: edge, insecureEdgeTerminationPolicy: Redirect}
    wildcardPolicy: None
"""

# Arguments alone: neither a command nor a name for the model.
BARE = """
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: test-runtime}
spec:
  containers:
  - name: kserve-container
    image: quay.io/modh/vllm:rhoai-2.20-cuda
    args: ['--port=8080', '--model=/mnt/models']
  supportedModelFormats:
  - {name: vLLM, autoSelect: true}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: bare
  labels: {networking.kserve.io/visibility: exposed}
spec:
  predictor:
    model:
      modelFormat: {name: vLLM}
      runtime: test-runtime
      storageUri: oci://localhost/tiny:1
"""
# OpenVINO Model Server's way: its runtime as it is shipped, and a task in the service's arguments.
TASK = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: task
  labels: {networking.kserve.io/visibility: exposed}
spec:
  predictor:
    model:
      protocolVersion: v2
      modelFormat: {name: openvino_ir}
      storageUri: oci://localhost/tiny:1
      args: [--task=text_generation]
"""
# Without KServe: a Deployment on vLLM's own port, a Service, a Route; the model is a volume.
DEPLOYMENT = """
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: granite
    labels: {app: granite}
  spec:
    replicas: 1
    selector: {matchLabels: {app: granite}}
    template:
      metadata: {labels: {app: granite}}
      spec:
        volumes:
        - name: model-volume
          image: {reference: localhost/tiny:1, pullPolicy: IfNotPresent}
        - name: shm
          emptyDir: {medium: Memory, sizeLimit: 2Gi}
        containers:
        - name: granite
          image: registry.redhat.io/rhaiis/vllm-cuda-rhel9@sha256:DIGEST
          imagePullPolicy: IfNotPresent
          env:
          - {name: VLLM_SERVER_DEV_MODE, value: '1'}
          command: [python, '-m', vllm.entrypoints.openai.api_server]
          args:
          - --port=8000
          - --model=/model
          - --served-model-name=ibm-granite/granite-3.1-2b-instruct
          - --tensor-parallel-size=1
          volumeMounts:
          - {name: model-volume, mountPath: /model, subPath: models}
          - {name: shm, mountPath: /dev/shm}
        restartPolicy: Always
- apiVersion: v1
  kind: Service
  metadata: {name: granite-predictor}
  spec:
    selector: {app: granite}
    ports:
    - {name: http, port: 80, targetPort: 8000}
- apiVersion: route.openshift.io/v1
  kind: Route
  metadata: {name: granite}
  spec:
    to: {kind: Service, name: granite-predictor}
    port: {targetPort: http}
"""
MANIFESTS = {
    "basic": BASIC,
    "standard": STANDARD.replace("DIGEST", "1" * 64),
    "advanced": ADVANCED,
    "bare": BARE,
}
ROUTES = {"advanced": "advanced-tls"}
PROTECTED = ("advanced",)
HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    directory = tmp_path_factory.mktemp("llm")
    make_checkpoint(directory / "model")
    with running(directory / "data") as platform:
        words = ("modelcar", "build", str(directory / "model"), "-t", "localhost/tiny:1")
        built = platform.run(*words)
        assert built.returncode == 0, built.stderr
        for name, manifest in MANIFESTS.items():
            file = directory / f"{name}.yaml"
            file.write_text(manifest)
            platform.kubectl("apply", "-f", str(file))
        yield platform


def connected(platform, name, version="v1"):
    """The openai client, connected to the host of the service's Route."""
    route = eventually(lambda: admitted(platform, ROUTES.get(name)) or of_service(platform, name))
    return client_of(platform, route, version, token_for(platform, name))


def token_for(platform, name):
    """Of somebody who may `get` the service, where it asks for that."""
    if name not in PROTECTED:
        return "none"
    rights = ("--verb=get", "--resource=inferenceservices.serving.kserve.io")
    for made in (
        ("sa", "reader"),
        ("role", "reader", *rights),
        ("rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader"),
    ):
        platform.kubectl("create", *made, check=False)
    return platform.kubectl("create", "token", "reader").strip()


def admitted(platform, name):
    if name is None:
        return None
    route = platform.kubectl_json("get", "route", name)
    return route if (route.get("status") or {}).get("ingress") else None


def of_service(platform, name):
    routes = platform.kubectl_json("get", "routes")["items"]
    mine = [each for each in routes if each["spec"]["to"]["name"] == f"{name}-predictor"]
    return next((each for each in mine if (each.get("status") or {}).get("ingress")), None)


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_openai_client_is_answered_as_soon_as_the_service_is_ready(platform, name):
    platform.kubectl("wait", "--for=condition=Ready", f"isvc/{name}", "--timeout=60s")
    served = "/mnt/models" if name == "bare" else name
    asked = {"model": served, "messages": HELLO, "temperature": 0, "max_tokens": 8}

    with connected(platform, name) as client:
        # No second try: Ready means that the model answers.
        models = [each.id for each in client.models.list()]
        whole = client.chat.completions.create(**asked)
        streamed = client.chat.completions.create(**asked, stream=True)
        text = "".join(each.choices[0].delta.content or "" for each in streamed)
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**asked | {"model": "other"})

    assert models == [served]
    assert whole.model == served
    assert whole.choices[0].message.content == text
    assert whole.usage.completion_tokens == 8


def test_nobody_is_answered_by_a_protected_service_who_has_no_right(platform):
    platform.kubectl("wait", "--for=condition=Ready", "isvc/advanced", "--timeout=60s")
    route = eventually(lambda: admitted(platform, ROUTES["advanced"]))
    stranger = platform.kubectl("create", "token", "default").strip()

    with client_of(platform, route) as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with (
        client_of(platform, route, token=stranger) as client,
        pytest.raises(openai.PermissionDeniedError),
    ):
        client.models.list()


def test_a_task_of_openvino_model_server_is_served_below_v3(platform):
    platform.kubectl("apply", "-f", "-", stdin=TASK)
    platform.kubectl("wait", "--for=condition=Ready", "isvc/task", "--timeout=60s")

    with connected(platform, "task", "v3") as client:
        answer = client.chat.completions.create(model="task", messages=HELLO, max_tokens=4)

    assert answer.usage.completion_tokens == 4


def test_a_deployment_without_kserve_answers_by_the_name_that_it_gives(platform):
    platform.kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("DIGEST", "1" * 64))
    name = "ibm-granite/granite-3.1-2b-instruct"

    with connected(platform, "granite") as client:
        # It has no probe, so that its Pod is Ready before its model is.
        assert eventually(lambda: listed(client)) == [name]
        answer = client.chat.completions.create(model=name, messages=HELLO, max_tokens=4)

    assert answer.model == name


def listed(client):
    try:
        return [each.id for each in client.models.list()]
    except (openai.APIConnectionError, openai.InternalServerError):
        return None


def test_the_event_says_which_engine_serves_and_why(platform):
    events = platform.kubectl("get", "events", "-o", "jsonpath={.items[*].message}")

    assert "motorpool-llm serves it: it knows LlamaForCausalLM" in events


def test_a_killed_engine_is_back_without_anyone_s_help(platform):
    platform.kubectl("wait", "--for=condition=Ready", "isvc/basic", "--timeout=60s")
    (pod,) = pods(platform, "basic")
    before = restarts(pod)
    address = f"http://{pod['status']['podIP']}:8080"
    asked = {"model": "basic", "messages": HELLO, "max_tokens": 1}

    assert httpx.get(f"{address}/health").status_code == 200
    kill_engine(platform, "basic")
    eventually(lambda: restarts(pods(platform, "basic")[0]) > before)
    platform.kubectl("wait", "--for=condition=Ready", f"pod/{pod['metadata']['name']}")

    assert httpx.post(f"{address}/v1/chat/completions", json=asked).status_code == 200


def pods(platform, name):
    label = f"serving.kserve.io/inferenceservice={name}"
    return platform.kubectl_json("get", "pods", "-l", label)["items"]


def restarts(pod):
    return pod["status"]["containerStatuses"][0]["restartCount"]


def kill_engine(platform, name):
    servers = [
        int(line.split()[0])
        for line in processes()
        if str(platform.data_dir) in line and f"--served-model-name={name} " in line
    ]
    (engine,) = {pid for server in servers for pid in descendants(server)}
    os.kill(engine, signal.SIGKILL)
