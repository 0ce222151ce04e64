"""Access on the running platform: tokens of accounts and users, sealed Secrets, a rotated key."""

import base64

import pytest
import yaml

from tests.platform import eventually, running
from tests.programs import program

pytestmark = pytest.mark.slow

PASSWORD = "correct-horse-battery-staple"
TOKEN_SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "type": "kubernetes.io/service-account-token",
    "metadata": {
        "name": "robot-token",
        "annotations": {"kubernetes.io/service-account.name": "robot"},
    },
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with running(tmp_path_factory.mktemp("access") / "data") as platform:
        yield platform


def kubectl_with(platform, token, *arguments, check=True):
    """kubectl with that token in place of the administrator's."""
    config = yaml.safe_load((platform.data_dir / "kubeconfig").read_text())
    config["users"][0]["user"] = {"token": token}
    file = platform.data_dir.with_name("other.kubeconfig")
    file.write_text(yaml.safe_dump(config))
    return platform.kubectl("--kubeconfig", str(file), *arguments, check=check)


def data_of(platform, secret):
    found = platform.kubectl_json("get", "secret", secret)
    return {k: base64.b64decode(v).decode() for k, v in (found.get("data") or {}).items()}


def test_an_account_s_tokens_open_the_api(platform, tmp_path):
    platform.kubectl("create", "sa", "robot")
    platform.kubectl("create", "rolebinding", "robot", "--clusterrole=view",
                     "--serviceaccount=default:robot")  # fmt: skip
    token = platform.kubectl("create", "token", "robot").strip()
    assert "kube-root-ca.crt" in kubectl_with(platform, token, "get", "configmaps")
    assert "system:serviceaccount:default:robot" in kubectl_with(platform, token, "auth", "whoami")

    manifest = tmp_path / "secret.yaml"
    manifest.write_text(yaml.safe_dump(TOKEN_SECRET))
    platform.kubectl("apply", "-f", str(manifest))
    filled = eventually(lambda: data_of(platform, "robot-token"))
    assert filled["namespace"] == "default"
    assert filled["ca.crt"] == (platform.data_dir / "pki" / "ca.crt").read_text()
    assert "kube-root-ca.crt" in kubectl_with(platform, filled["token"], "get", "configmaps")
    platform.kubectl("delete", "sa", "robot")
    eventually(lambda: "robot-token" not in platform.kubectl("get", "secrets"))


def test_no_file_of_the_store_holds_a_secret_and_a_new_key_seals_it(platform):
    platform.kubectl("create", "secret", "generic", "s", f"--from-literal=password={PASSWORD}")
    encoded = base64.b64encode(PASSWORD.encode())
    for file in platform.data_dir.glob("state.db*"):
        content = file.read_bytes()
        assert PASSWORD.encode() not in content, file
        assert encoded not in content, file
    rotated = platform.run("secrets", "rotate-key", "--output", "json")
    assert rotated.returncode == 0, rotated.stderr
    assert data_of(platform, "s") == {"password": PASSWORD}
    platform.kubectl("create", "secret", "generic", "t", f"--from-literal=password={PASSWORD}")
    assert data_of(platform, "t") == {"password": PASSWORD}


def test_a_user_comes_in_and_is_shut_out(platform, tmp_path):
    target = tmp_path / "alice.kubeconfig"
    added = platform.run("user", "add", "alice", "--kubeconfig", str(target))
    assert added.returncode == 0, added.stderr
    whoami = ("--kubeconfig", str(target), "auth", "whoami")
    assert "alice" in platform.kubectl(*whoami)
    assert platform.run("user", "rm", "alice").returncode == 0
    assert "Unauthorized" in platform.kubectl(*whoami, check=False)


def test_a_pod_speaks_to_the_api_as_its_account(platform):
    command = "--command", "--", "/bin/sh", "-c", "sleep 600"
    platform.kubectl("run", "inside", "--image=busybox", "--restart=Never", *command)
    platform.kubectl("wait", "--for=condition=Ready", "pod/inside", "--timeout=60s")
    path = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert platform.kubectl("exec", "inside", "--", "cat", f"{path}/namespace") == "default"
    whoami = platform.kubectl("exec", "inside", "--", program("kubectl"), "auth", "whoami")
    assert "system:serviceaccount:default:default" in whoami
    token = platform.kubectl("exec", "inside", "--", "cat", f"{path}/token")
    assert "system:serviceaccount:default:default" in kubectl_with(
        platform, token, "auth", "whoami"
    )
    platform.kubectl("delete", "pod", "inside", "--now")
    assert "Unauthorized" in kubectl_with(platform, token, "get", "pods", check=False)
