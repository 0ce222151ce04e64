"""The serving controllers as a program of their own, over HTTPS, with a second one in waiting."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.platform import MOTORPOOL, eventually, running

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy"
LEASE = ("get", "lease", "motorpool-operator", "-n", "redhat-ods-applications")


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with running(tmp_path_factory.mktemp("operator") / "data", "--no-controllers") as platform:
        yield platform


@pytest.fixture
def operator(platform):
    """Starts operators, each with a log of its own; ends them with the test.

    They have the rights that the manifests give them, and no others.
    """
    started = []
    platform.kubectl("apply", "-f", str(DEPLOY / "operator" / "rbac.yaml"))
    kubeconfig = platform.data_dir.parent / "operator.kubeconfig"
    config = yaml.safe_load((platform.data_dir / "kubeconfig").read_text())
    account = ("motorpool-operator", "-n", "redhat-ods-applications")
    token = platform.kubectl("create", "token", *account).strip()
    config["users"][0]["user"] = {"token": token}
    kubeconfig.write_text(yaml.safe_dump(config))

    def start():
        log = platform.data_dir.parent / f"operator-{len(started)}.log"
        command = [*MOTORPOOL, "operator", "--kubeconfig", str(kubeconfig)]
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env=platform.environment)
        started.append(process)
        return process, log

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.wait(60)


def holder(platform) -> str:
    return platform.kubectl(*LEASE, "-o", "jsonpath={.spec.holderIdentity}")


def test_an_operator_makes_services_true_and_another_takes_over(platform, digits, operator):
    first, log = operator()
    eventually(lambda: "works as" in log.read_text(), what="the first works")
    second, waiting = operator()
    eventually(lambda: "waiting for the lease" in waiting.read_text(), what="the second waits")
    assert holder(platform).endswith(f"_{first.pid}")
    account = "system:serviceaccount:redhat-ods-applications:motorpool-operator"
    refused = platform.kubectl("auth", "can-i", "delete", "pods", "--as", account, check=False)
    assert refused.split()[-1] == "no", "it has few rights, and these are enough"
    digits(platform)
    platform.kubectl("annotate", "isvc", "digits", "security.opendatahub.io/enable-auth=true")
    platform.kubectl("wait", "--for=create", "secret/digits-predictor-serving-cert")
    bindings = ("get", "clusterrolebinding", "-o", "name")
    eventually(lambda: "default-default-auth-delegator" in platform.kubectl(*bindings))
    platform.kubectl("rollout", "status", "deployment/digits-predictor", "--timeout=60s")

    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0, log.read_text()
    eventually(lambda: "works as" in waiting.read_text(), what="the second works")
    assert holder(platform).endswith(f"_{second.pid}")
    platform.kubectl("annotate", "isvc", "digits", "serving.kserve.io/stop=true")
    platform.kubectl("wait", "--for=delete", "deployment/digits-predictor", "--timeout=60s")

    for text in (log.read_text(), waiting.read_text()):
        assert "forbidden" not in text, text
    os.kill(second.pid, signal.SIGTERM)
    assert second.wait(60) == 0
    assert holder(platform) == ""


def test_without_a_cluster_the_way_to_name_one_is_said(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KUBE")}
    done = subprocess.run(
        [*MOTORPOOL, "operator", "--kubeconfig", str(tmp_path / "none")],
        capture_output=True, text=True, check=False,
        env={**environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "src")},
    )  # fmt: skip
    assert done.returncode == 1
    assert "name a kubeconfig with --kubeconfig or $KUBECONFIG" in done.stderr


def test_the_manifests_are_current_and_whole():
    script = Path(__file__).parents[2] / "scripts" / "deploy_manifests.py"
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for file in DEPLOY.rglob("kustomization.yaml"):
        for name in yaml.safe_load(file.read_text())["resources"]:
            assert (file.parent / name).exists(), f"{file}: {name}"
