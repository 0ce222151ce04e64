"""How to reach a server, out of a kubeconfig file."""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motorpool.api.meta import Object, at


class KubeconfigError(Exception):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Access:
    server: str
    tls: ssl.SSLContext | bool  # False: the certificate is not checked
    token: str = ""
    namespace: str = "default"
    act_as: str = ""  # the user to impersonate
    token_file: Path | None = None  # read again now and then: such tokens are short-lived


SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def in_cluster(env: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> Access:
    """The access of the Pod that this runs in. Raises KubeconfigError."""
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
    token = directory / "token"
    if not host or not token.is_file():
        raise KubeconfigError("no kubeconfig is named, and this is no Pod of a cluster")
    try:
        context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        namespace = (directory / "namespace").read_text().strip()
    except OSError as error:
        raise KubeconfigError(f"the service account in {directory}: {error}") from error
    address = f"[{host}]" if ":" in host else host
    return Access(
        server=f"https://{address}:{port}",
        tls=context,
        namespace=namespace or "default",
        token_file=token,
    )


def read_kubeconfig(file: Path, context: str = "") -> Access:
    """The access that *context*, or else the current one, gives. Raises KubeconfigError."""
    import yaml

    try:
        config = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise KubeconfigError(f"cannot read {file}: {error}") from error
    if not isinstance(config, dict):
        raise KubeconfigError(f"{file} is no kubeconfig")
    chosen = _named(config, "contexts", "context", context or config.get("current-context", ""))
    cluster = _named(config, "clusters", "cluster", chosen.get("cluster", ""))
    user = _named(config, "users", "user", chosen.get("user", "")) if chosen.get("user") else {}
    try:
        return Access(
            server=str(cluster["server"]).rstrip("/"),
            tls=_tls(cluster, user, file.parent),
            token=_token(user, file.parent),
            namespace=chosen.get("namespace") or "default",
            act_as=str(user.get("as") or ""),
        )
    except (KeyError, OSError, ssl.SSLError, binascii.Error) as error:
        raise KubeconfigError(f"{file}: {error}") from error


def _named(config: Object, part: str, field: str, name: str) -> Object:
    for entry in config.get(part) or ():
        if entry.get("name") == name:
            return dict(entry.get(field) or {})
    raise KubeconfigError(f'the kubeconfig has no {field} named "{name}"')


def _token(user: Object, directory: Path) -> str:
    if user.get("tokenFile"):
        return (directory / str(user["tokenFile"])).read_text().strip()
    return str(user.get("token") or "")


def _tls(cluster: Object, user: Object, directory: Path) -> ssl.SSLContext | bool:
    if not str(cluster["server"]).startswith("https:"):
        return False
    authority = _bytes(cluster, "certificate-authority", directory)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _bytes(user, "client-certificate", directory)
    key = _bytes(user, "client-key", directory)
    if certificate and key:
        with tempfile.NamedTemporaryFile(prefix="motorpool-") as both:  # it has mode 0600
            both.write(certificate + b"\n" + key)
            both.flush()
            context.load_cert_chain(both.name)
    return context


def _bytes(entry: Object, name: str, directory: Path) -> bytes:
    """What the file *name* holds, or what stands in the kubeconfig itself."""
    data: Any = at(entry, f"{name}-data")
    if data:
        return base64.b64decode(data)
    path = at(entry, name)
    return (directory / path).read_bytes() if path else b""
