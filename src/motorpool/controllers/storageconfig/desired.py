"""The Secret `storage-config` of a namespace, from its data connections. Pure.

A data connection is a Secret with both labels and the S3 keys. Each becomes one entry, named as the
connection: that name is what `storage.key` of an InferenceService says.
"""

import base64
import json
from collections.abc import Iterable

from motorpool.api.meta import Object, annotations_of, at, labels_of, name_of

NAME = "storage-config"
MANAGED, DASHBOARD = "opendatahub.io/managed", "opendatahub.io/dashboard"
ENTRIES_ANNOTATION = "motorpool.dev/entries"
TYPE_ANNOTATION = "opendatahub.io/connection-type"
FIELDS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "endpoint_url": "AWS_S3_ENDPOINT",
    "bucket": "AWS_S3_BUCKET",
    "region": "AWS_DEFAULT_REGION",
}


def is_connection(secret: Object) -> bool:
    labels = labels_of(secret)
    if name_of(secret) == NAME or not all(labels.get(k) == "true" for k in (MANAGED, DASHBOARD)):
        return False
    kind = annotations_of(secret).get(TYPE_ANNOTATION, "s3")
    return kind == "s3" and FIELDS["access_key_id"] in at(secret, "data", default={})


def storage_config(
    namespace: str, secrets: Iterable[Object], *, ca_bundle: str = ""
) -> Object | None:
    """None where the namespace has no data connection; *ca_bundle* names a ConfigMap, or "" none.

    A store that is reached by https is trusted by that bundle.
    """
    connections = [secret for secret in secrets if is_connection(secret)]
    entries = {name_of(secret): _entry(secret, ca_bundle) for secret in connections}
    if not entries:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {MANAGED: "true"},
            "annotations": {ENTRIES_ANNOTATION: ",".join(sorted(entries))},
        },
        "type": "Opaque",
        "data": {name: entries[name] for name in sorted(entries)},
    }


def own_entries(secret: Object) -> set[str]:
    """The entries that were made here; any other is a user's."""
    return set(filter(None, annotations_of(secret).get(ENTRIES_ANNOTATION, "").split(",")))


def _entry(secret: Object, ca_bundle: str) -> str:
    data = secret["data"]
    values = {
        field: base64.b64decode(data[key]).decode("utf-8", "replace")
        for field, key in FIELDS.items()
        if key in data
    }
    if ca_bundle and values.get("endpoint_url", "").startswith("https://"):
        values["cabundle_configmap"] = ca_bundle
    document = json.dumps({"type": "s3", **values}, separators=(",", ":"))
    return base64.b64encode(document.encode()).decode()
