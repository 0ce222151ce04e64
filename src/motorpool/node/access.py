"""How programs of a Pod reach the API: a kubeconfig beside the token that its account mounts.

Client libraries look for the token at a path that processes of this machine cannot have, but read
``KUBECONFIG`` first. So there is no ``KUBERNETES_SERVICE_HOST`` either: a library that sees it
insists on that path.
"""

import json
from pathlib import Path

import yaml

from motorpool.api.meta import Object, namespace_of
from motorpool.base.atomicfile import write_atomically

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
FILE_NAME = "kubeconfig"


def token_volume(container: Object) -> str:
    """The name of the volume that is mounted where clients look for their token, or ""."""
    for mount in container.get("volumeMounts") or ():
        if str(mount.get("mountPath", "")).rstrip("/") == TOKEN_PATH:
            return str(mount["name"])
    return ""


def write_kubeconfig(pod: Object, pod_dir: Path, administrators: Path) -> None:
    """For a Pod that mounts a token. *administrators*: the file that says where the API is."""
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    volume = next(filter(None, map(token_volume, containers)), "")
    server = _server(administrators) if volume else ""
    if not server:
        return
    config = kubeconfig(server, pod_dir / "volumes" / volume, namespace_of(pod))
    content = json.dumps(config, indent=1).encode()
    path = pod_dir / FILE_NAME
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content, mode=0o600, sync=False)


def kubeconfig(server: str, directory: Path, namespace: str) -> Object:
    """What names the files of a token volume; the token itself is read anew as it changes."""
    name = "motorpool"
    cluster = {"server": server, "certificate-authority": str(directory / "ca.crt")}
    context = {"cluster": name, "user": name, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"tokenFile": str(directory / "token")}}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }


def _server(administrators: Path) -> str:
    try:
        config = yaml.safe_load(administrators.read_text())
        return str(config["clusters"][0]["cluster"]["server"])
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError):
        return ""
