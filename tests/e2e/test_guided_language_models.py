"""The ModelCars guide's own manifests for vLLM, read from the guide, served by this machine.

As they stand but for three things: a tiny ModelCar in place of the registry's, no GPU asked for,
and requests that two cores and a few gigabytes can meet. Those that ask for authentication answer
who has a token and the right to use the model.
"""

import openai
import pytest
import yaml

from tests import guides
from tests.e2e.openai_clients import client_of
from tests.modelserver.llm.checkpoints import make_checkpoint
from tests.platform import eventually, running
from tests.programs import without

pytestmark = [pytest.mark.slow, without("openvino_genai"), guides.needed]

# Files of one namespace each, the service that they make, and the name that its model has.
GUIDE = {
    "basic": (["02-servingruntime-inferenceservice"], "my-model", "my-model"),
    "standard": (["03-servingruntime-inferenceservice"], "granite-model", "granite-model"),
    "advanced": (["04-servingruntime-inferenceservice-route"], "llama-model", "llama-model"),
    "test": (["05-servingruntime", "06-inferenceservice"], "test-model", "/mnt/models"),
    "dev": (["07-servingruntime-inferenceservice"], "dev-granite", "/mnt/models"),
    "prod": (["08-servingruntime-inferenceservice-route"], "prod-llama", "/mnt/models"),
    "shared": (["10-servingruntime", "11-inferenceservice"], "granite-8b", "granite-8b"),
}
PROTECTED = {"advanced", "prod"}
HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    directory = tmp_path_factory.mktemp("guide")
    # As long a context as the guide's flags ask for.
    make_checkpoint(directory / "model", max_position_embeddings=8192)
    with running(directory / "data") as platform:
        words = ("modelcar", "build", str(directory / "model"), "-t", "localhost/tiny:1")
        built = platform.run(*words)
        assert built.returncode == 0, built.stderr
        for namespace, (files, _, _) in GUIDE.items():
            platform.kubectl("create", "namespace", namespace)
            for file in files:
                objects = guides.objects_of(guides.FOLDER / f"modelcars-guide-{file}.yaml")
                text = yaml.safe_dump_all([fitted(obj) for obj in objects])
                platform.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)
        yield platform


def fitted(obj):
    """The object for a machine without a GPU, and with our ModelCar."""
    if obj["kind"] == "InferenceService":
        model = obj["spec"]["predictor"]["model"]
        model["storageUri"] = "oci://localhost/tiny:1"
        small = {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        }
        for which, amounts in (model.get("resources") or {}).items():
            amounts.pop("nvidia.com/gpu", None)
            amounts.update(small[which])
    return obj


@pytest.mark.parametrize("namespace", GUIDE)
def test_the_openai_client_is_answered_through_the_route(platform, namespace):
    _, service, served = GUIDE[namespace]
    platform.kubectl(
        "wait", "-n", namespace, "--for=condition=Ready", f"isvc/{service}", "--timeout=120s"
    )
    asked = {"model": served, "messages": HELLO, "temperature": 0, "max_tokens": 8}

    route = eventually(lambda: admitted(platform, namespace, service))
    token = "none"
    if namespace in PROTECTED:
        with client_of(platform, route) as stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        token = token_of_caller(platform, namespace, service)
    with client_of(platform, route, token=token) as client:
        # No second try: Ready means that the model answers.
        models = [each.id for each in client.models.list()]
        whole = client.chat.completions.create(**asked)
        stream = client.chat.completions.create(**asked, stream=True)
        text = "".join(each.choices[0].delta.content or "" for each in stream)
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**asked | {"model": "other"})

    assert models == [served]
    assert whole.choices[0].message.content == text
    assert whole.usage.completion_tokens == 8


def token_of_caller(platform, namespace, service):
    """Of an account that may get the InferenceService."""
    may = ("--verb=get", "--resource=inferenceservices.serving.kserve.io",
           f"--resource-name={service}")  # fmt: skip
    platform.kubectl("create", "-n", namespace, "serviceaccount", "caller")
    platform.kubectl("create", "-n", namespace, "role", "caller", *may)
    platform.kubectl("create", "-n", namespace, "rolebinding", "caller", "--role=caller",
                     f"--serviceaccount={namespace}:caller")  # fmt: skip
    return platform.kubectl("create", "-n", namespace, "token", "caller").strip()


def admitted(platform, namespace, service):
    routes = platform.kubectl_json("get", "routes", "-n", namespace)["items"]
    mine = [each for each in routes if each["spec"]["to"]["name"] == f"{service}-predictor"]
    if not mine:
        platform.kubectl("apply", "-n", namespace, "-f", "-", stdin=exposed(f"{service}-predictor"))
    return next((each for each in mine if (each.get("status") or {}).get("ingress")), None)


def exposed(service):
    """What ``oc expose service NAME`` of the guide's next step makes."""
    return yaml.safe_dump(
        {
            "apiVersion": "route.openshift.io/v1",
            "kind": "Route",
            "metadata": {"name": service},
            "spec": {"to": {"kind": "Service", "name": service}},
        }
    )
