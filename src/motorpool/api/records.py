"""Defaults and rules of kinds that hold facts and start nothing: Namespaces, ConfigMaps, Secrets,
Events and Leases. Pure."""

import base64
from collections.abc import Iterator

from motorpool.api import names
from motorpool.api.errors import FieldError
from motorpool.api.meta import Object, annotations_of
from motorpool.api.validation import immutable, listed, not_negative

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
CONTENT_BYTES_MAX = 1024 * 1024

_KEYS_OF_TYPE = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
_SEALED = "field is immutable when `immutable` is set"


def default_namespace(namespace: Object) -> None:
    metadata = namespace["metadata"]
    if metadata.get("name"):
        labels = metadata.get("labels") or {}
        if labels.get(NAMESPACE_LABEL) != metadata["name"]:
            metadata["labels"] = {**labels, NAMESPACE_LABEL: metadata["name"]}
    spec = namespace.setdefault("spec", {})
    is_deleting = "deletionTimestamp" in metadata
    if not is_deleting:
        spec.setdefault("finalizers", ["kubernetes"])
    phase = "Terminating" if is_deleting else "Active"
    namespace.setdefault("status", {}).setdefault("phase", phase)


def default_secret(secret: Object) -> None:
    """``stringData`` is only for writing: it becomes part of ``data``."""
    if not secret.get("type"):
        secret["type"] = "Opaque"
    texts = secret.pop("stringData", None)
    if texts:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}


def _key_errors(obj: Object) -> Iterator[FieldError]:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    for field, content in (("data", data), ("binaryData", binary)):
        for key in content:
            for text in names.config_key(key):
                yield FieldError.invalid(f"{field}[{key}]", key, text)
            if field == "data" and key in binary:
                text = "duplicate of key present in binaryData"
                yield FieldError.invalid(f"data[{key}]", key, text)


def _sealed_errors(
    new: Object, old: Object | None, fields: tuple[str, ...]
) -> Iterator[FieldError]:
    if old is None or not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield FieldError.forbidden("immutable", _SEALED)
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            yield FieldError.forbidden(field, _SEALED)


def _config_map_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    yield from _key_errors(new)
    size = sum(len(text.encode()) for text in (new.get("data") or {}).values())
    size += sum(_decoded_bytes(text) for text in (new.get("binaryData") or {}).values())
    if size > CONTENT_BYTES_MAX:
        yield FieldError.too_long("", CONTENT_BYTES_MAX)
    yield from _sealed_errors(new, old, ("data", "binaryData"))


def _secret_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    data = new.get("data") or {}
    yield from _key_errors(new)
    if sum(_decoded_bytes(text) for text in data.values()) > CONTENT_BYTES_MAX:
        yield FieldError.too_long("data", CONTENT_BYTES_MAX)
    if new.get("type") == ACCOUNT_TOKEN and not annotations_of(new).get(ACCOUNT_ANNOTATION):
        yield FieldError.required(f"metadata.annotations[{ACCOUNT_ANNOTATION}]")
    for key in _KEYS_OF_TYPE.get(str(new.get("type")), ()):
        if key not in data:
            yield FieldError.required(f"data[{key}]")
    if old is not None:
        yield from immutable("type", new.get("type"), old.get("type"))
    yield from _sealed_errors(new, old, ("data",))


def _decoded_bytes(text: str) -> int:
    return len(text) * 3 // 4 - text.count("=", -2)


def _event_errors(new: Object, _: Object | None) -> Iterator[FieldError]:
    namespace = new["metadata"].get("namespace", "")
    involved = (new.get("involvedObject") or {}).get("namespace", "")
    # Cluster-scoped objects have their events in "default".
    if namespace != (involved or "default"):
        text = "does not match event.namespace"
        yield FieldError.invalid("involvedObject.namespace", involved, text)


def _lease_errors(new: Object, _: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield FieldError.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    yield from not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))


validate_config_map = listed(_config_map_errors)
validate_secret = listed(_secret_errors)
validate_event = listed(_event_errors)
validate_lease = listed(_lease_errors)
