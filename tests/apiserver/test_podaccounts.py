"""What a new Pod takes over from its ServiceAccount."""

import pytest

from motorpool.api import core
from motorpool.apiserver.podaccounts import TOKEN_PATH, take_over


def pod(**spec):
    return {"spec": {"containers": [{"name": "main"}], **spec}}


def mounts(obj):
    return [m["mountPath"] for c in obj["spec"]["containers"] for m in c.get("volumeMounts", ())]


def test_a_pod_gets_a_token_a_certificate_and_its_namespace():
    made = pod(initContainers=[{"name": "first"}])
    take_over(made, None, "abcde")
    (volume,) = made["spec"]["volumes"]
    assert volume["name"] == "kube-api-access-abcde"
    token, config_map, downward = volume["projected"]["sources"]
    assert token["serviceAccountToken"] == {"expirationSeconds": 3607, "path": "token"}
    assert config_map["configMap"]["name"] == "kube-root-ca.crt"
    assert downward["downwardAPI"]["items"][0]["path"] == "namespace"
    mount = {"name": "kube-api-access-abcde", "readOnly": True, "mountPath": TOKEN_PATH}
    assert made["spec"]["containers"][0]["volumeMounts"] == [mount]
    assert made["spec"]["initContainers"][0]["volumeMounts"] == [mount]


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [
        (None, None, True),
        (None, False, False),
        (None, True, True),
        (False, True, False),
        (True, False, True),
    ],
)
def test_the_pods_word_counts_before_the_accounts(of_pod, of_account, mounted):
    made = pod() if of_pod is None else pod(automountServiceAccountToken=of_pod)
    account = {} if of_account is None else {"automountServiceAccountToken": of_account}
    take_over(made, account, "x")
    assert (mounts(made) == [TOKEN_PATH]) == mounted
    assert bool(made["spec"].get("volumes")) == mounted


def test_what_a_user_mounts_there_stays():
    own = {"name": "mine", "mountPath": TOKEN_PATH}
    made = pod(containers=[{"name": "main", "volumeMounts": [own]}])
    take_over(made, None, "x")
    assert made["spec"]["containers"][0]["volumeMounts"] == [own]
    assert "volumes" not in made["spec"]


def test_pull_secrets_are_the_accounts_where_the_pod_names_none():
    made, own = pod(), pod(imagePullSecrets=[{"name": "mine"}])
    account = {"imagePullSecrets": [{"name": "theirs"}]}
    take_over(made, account, "x")
    take_over(own, account, "x")
    assert made["spec"]["imagePullSecrets"] == [{"name": "theirs"}]
    assert own["spec"]["imagePullSecrets"] == [{"name": "mine"}]


async def test_the_server_does_it_when_a_pod_is_created(local_client):
    account = {"metadata": {"name": "robot", "namespace": "default"},
               "automountServiceAccountToken": False}  # fmt: skip
    await local_client.create(core.SERVICE_ACCOUNT, account)
    for name, spec in (("a", {}), ("b", {"serviceAccountName": "robot"})):
        containers = [{"name": "main", "image": "busybox"}]
        made = await local_client.create(
            core.POD,
            {
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"containers": containers, **spec},
            },
        )
        assert (mounts(made) == [TOKEN_PATH]) == (name == "a")
