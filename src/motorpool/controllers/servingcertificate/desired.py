"""The Secret that a Service asks for by annotation, and whether the one there will do. Pure."""

import base64
import binascii
from datetime import datetime

from motorpool.api.meta import Object, annotations_of, at, name_of, namespace_of, uid_of
from motorpool.base.certificates import Authority, Issued

PREFIX = "service.beta.openshift.io/"
ASKED = PREFIX + "serving-cert-secret-name"
SERVICE_NAME, SERVICE_UID = PREFIX + "originating-service-name", PREFIX + "originating-service-uid"
INJECTED = PREFIX + "inject-cabundle"
BUNDLE_KEY = "service-ca.crt"
CERTIFICATE, KEY = "tls.crt", "tls.key"


def secret_name(service: Object) -> str:
    """What the Service asks for; "" where it asks for nothing."""
    return annotations_of(service).get(ASKED, "")


def hosts_of(service: Object) -> list[str]:
    """The names in the cluster; of a headless Service those of its pods too."""
    short = f"{name_of(service)}.{namespace_of(service)}.svc"
    hosts = [short, f"{short}.cluster.local"]
    if at(service, "spec", "clusterIP") == "None":
        hosts += [f"*.{host}" for host in hosts]
    return hosts


def is_of(secret: Object, service: Object) -> bool:
    """Whether it was made for this Service, or for one of this name before it."""
    return annotations_of(secret).get(SERVICE_NAME) == name_of(service)


def will_do(secret: Object, service: Object, authority: Authority, now: datetime) -> bool:
    if annotations_of(secret).get(SERVICE_UID) != uid_of(service):
        return False
    data = secret.get("data") or {}
    try:
        issued = Issued(*(base64.b64decode(data.get(name, "")) for name in (CERTIFICATE, KEY)))
    except binascii.Error:
        return False
    return authority.vouches_for(issued, hosts_of(service), now)


def serving_secret(service: Object, issued: Issued) -> Object:
    """It goes with its Service."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(service),
            "namespace": namespace_of(service),
            "annotations": {SERVICE_NAME: name_of(service), SERVICE_UID: uid_of(service)},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": name_of(service),
                    "uid": uid_of(service),
                }
            ],
        },
        "type": "kubernetes.io/tls",
        "data": tls_data(issued.certificate, issued.key),
    }


def tls_data(certificate: bytes, key: bytes) -> Object:
    return {
        CERTIFICATE: base64.b64encode(certificate).decode(),
        KEY: base64.b64encode(key).decode(),
    }


def wants_bundle(config_map: Object) -> bool:
    return annotations_of(config_map).get(INJECTED, "").lower() == "true"


def bundle(config_map: Object, authority: Authority) -> Object:
    """What is ours of a ConfigMap that asks for the authority's certificate."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name_of(config_map), "namespace": namespace_of(config_map)},
        "data": {BUNDLE_KEY: authority.certificate.decode()},
    }


def has_bundle(config_map: Object, authority: Authority) -> bool:
    return bool(at(config_map, "data", BUNDLE_KEY) == authority.certificate.decode())
