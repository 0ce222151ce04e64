"""Pod templates compared and named. Pure.

The hash goes into names and labels: it must be the same tomorrow and on another machine, and it
must not spell words, hence the alphabet without vowels that Kubernetes has.
"""

import hashlib
import json
from typing import Any

from motorpool.api.meta import Object, at

HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Object, collisions: int = 0) -> str:
    """At most ten characters; *collisions* tells apart two templates that hash alike."""
    text = json.dumps(_normal(template), sort_keys=True, separators=(",", ":"))
    seed = f"{text}\0{collisions}" if collisions else text
    number = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=4).digest(), "big")
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(number))


def are_equal(one: Object, other: Object) -> bool:
    """Whether two templates make the same pods; the hash label does not count."""
    return bool(_normal(one) == _normal(other))


def _normal(template: Object) -> Any:
    metadata = dict(at(template, "metadata", default={}))
    metadata.pop("creationTimestamp", None)
    labels = dict(metadata.pop("labels", None) or {})
    labels.pop(HASH_LABEL, None)
    annotations = metadata.pop("annotations", None) or {}
    return _without_nulls(
        {
            "metadata": {**metadata, "labels": labels, "annotations": annotations},
            "spec": at(template, "spec", default={}),
        }
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
