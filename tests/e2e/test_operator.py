"""The serving controllers as a program of their own, over HTTPS, with a second one in waiting."""

import os
import signal
import subprocess

import pytest

from tests.platform import MOTORPOOL, eventually, running

pytestmark = pytest.mark.slow

LEASE = ("get", "lease", "motorpool-operator", "-n", "redhat-ods-applications")


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with running(tmp_path_factory.mktemp("operator") / "data", "--no-controllers") as platform:
        yield platform


@pytest.fixture
def operator(platform):
    """Starts operators, each with a log of its own; ends them with the test."""
    started = []

    def start():
        log = platform.data_dir.parent / f"operator-{len(started)}.log"
        command = [*MOTORPOOL, "operator", "--kubeconfig", str(platform.data_dir / "kubeconfig")]
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env=platform.environment)
        started.append(process)
        return process, log

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.wait(20)


def holder(platform) -> str:
    return platform.kubectl(*LEASE, "-o", "jsonpath={.spec.holderIdentity}")


def test_an_operator_makes_services_true_and_another_takes_over(platform, digits, operator):
    first, log = operator()
    eventually(lambda: "works as" in log.read_text(), what="the first works")
    second, waiting = operator()
    eventually(lambda: "waiting for the lease" in waiting.read_text(), what="the second waits")
    assert holder(platform).endswith(f"_{first.pid}")
    digits(platform)

    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0, log.read_text()
    eventually(lambda: "works as" in waiting.read_text(), what="the second works")
    assert holder(platform).endswith(f"_{second.pid}")
    platform.kubectl("annotate", "isvc", "digits", "serving.kserve.io/stop=true")
    platform.kubectl("wait", "--for=delete", "deployment/digits-predictor", "--timeout=30s")

    os.kill(second.pid, signal.SIGTERM)
    assert second.wait(20) == 0
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
