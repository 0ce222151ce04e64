"""What a Pod takes over from its ServiceAccount when it is created: pull secrets and a token. Pure.

The token is a projected volume, mounted where clients of the API look for it, unless the Pod or
the account says ``automountServiceAccountToken: false`` (the Pod's word counts) or something is
mounted there already. Where accounts are not demanded, one that is not there yet gives a token once
it is.
"""

from motorpool.api.meta import Object

DEFAULT = "default"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607
NAME_PREFIX = "kube-api-access-"


def take_over(pod: Object, account: Object | None, suffix: str) -> None:
    """Changes *pod*, whose defaults are filled in. *suffix* makes the volume's name its own."""
    spec, account = pod["spec"], account or {}
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(each) for each in account["imagePullSecrets"]]
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = account.get("automountServiceAccountToken")
    if wanted is not False:
        _mount_token(spec, NAME_PREFIX + suffix)


def _mount_token(spec: Object, name: str) -> None:
    mounted = False
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == TOKEN_PATH for mount in mounts):
                continue
            mount = {"name": name, "readOnly": True, "mountPath": TOKEN_PATH}
            container["volumeMounts"] = [*mounts, mount]
            mounted = True
    if mounted:
        spec["volumes"] = [*(spec.get("volumes") or ()), {"name": name, "projected": _projected()}]


def _projected() -> Object:
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    items = [{"key": "ca.crt", "path": "ca.crt"}]
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": items}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
        ],
        "defaultMode": 0o644,
    }
