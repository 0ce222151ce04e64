"""ConfigMaps and Secrets made from literals and files, and the hash of what they hold."""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from motorpool.api.meta import Object
from motorpool.manifests.kustomize.resource import KustomizeError, Resource, same_namespace

Read = Callable[[str], bytes]
"""The bytes of a file beside the kustomization."""

_LETTERS = str.maketrans("013ae", "ghkmt")  # so that no hash spells a word
HASH_LENGTH = 10


def generate(
    resources: list[Resource], kind: str, entry: Object, options: Object, read: Read
) -> None:
    """Adds what *entry* makes to *resources*, or to what is there already. Raises
    KustomizeError."""
    made = _made(kind, entry, options, read)
    behavior = entry.get("behavior") or "create"
    existing = [one for one in resources if one.kind == kind and _is_same(one, made)]
    if behavior == "create":
        if existing:
            raise KustomizeError(
                f"{kind} {made.name} is there already; say `behavior: merge` or `replace`"
            )
        resources.append(made)
        return
    if behavior not in ("merge", "replace"):
        raise KustomizeError(f"{kind} {made.name}: behavior is create, merge or replace")
    if len(existing) != 1:
        raise KustomizeError(f"{kind} {made.name}: nothing is there to {behavior}")
    target = existing[0]
    _absorb(target.obj, made.obj, merge=behavior == "merge")


def _is_same(one: Resource, made: Resource) -> bool:
    return any(
        each.name == made.name and same_namespace(each.namespace, made.id.namespace)
        for each in one.ids
    )


def _made(kind: str, entry: Object, options: Object, read: Read) -> Resource:
    name = entry.get("name")
    if not name:
        raise KustomizeError(f"a generator of a {kind} without a name")
    given = _options(options, entry.get("options") or {})
    metadata: Object = {"name": name}
    if entry.get("namespace"):
        metadata["namespace"] = entry["namespace"]
    for field in ("labels", "annotations"):
        if given.get(field):
            metadata[field] = dict(given[field])
    obj: Object = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    if kind == "Secret":
        obj["type"] = entry.get("type") or "Opaque"
    if given.get("immutable"):
        obj["immutable"] = True
    for key, value in _pairs(entry, read):
        _put(obj, key, value, kind)
    return Resource(obj, needs_hash=not given.get("disableNameSuffixHash"))


def _options(common: Object, own: Object) -> Object:
    merged = {**common, **own}
    for field in ("labels", "annotations"):
        merged[field] = {**(common.get(field) or {}), **(own.get(field) or {})}
    return merged


def _pairs(entry: Object, read: Read) -> Iterable[tuple[str, bytes]]:
    envs = [*(entry.get("envs") or ()), *([entry["env"]] if entry.get("env") else [])]
    for file in envs:
        yield from _environment(read(file).decode("utf-8-sig"), file)
    for text in entry.get("files") or ():
        key, equals, path = text.partition("=")
        path = path if equals else key
        yield (key if equals else PurePosixPath(path).name), read(path)
    for text in entry.get("literals") or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise KustomizeError(f"literal {text!r}: expected KEY=VALUE")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        yield key, value.encode()


def _environment(text: str, file: str) -> Iterable[tuple[str, bytes]]:
    for number, line in enumerate(text.splitlines(), 1):
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not key:
            raise KustomizeError(f"{file}:{number}: expected KEY=VALUE")
        # A bare name is taken from the environment, as docker run --env-file has it.
        yield key, (value if equals else os.environ.get(key, "")).encode()


def _put(obj: Object, key: str, value: bytes, kind: str) -> None:
    if any(key in (obj.get(field) or {}) for field in ("data", "binaryData")):
        raise KustomizeError(f"{kind} {obj['metadata']['name']}: {key} is given twice")
    if kind == "Secret":
        obj.setdefault("data", {})[key] = base64.b64encode(value).decode()
        return
    try:
        text = value.decode()
    except UnicodeDecodeError:
        obj.setdefault("binaryData", {})[key] = base64.b64encode(value).decode()
        return
    obj.setdefault("data", {})[key] = text


def _absorb(target: Object, made: Object, *, merge: bool) -> None:
    for field in ("labels", "annotations"):
        pairs = {**(target["metadata"].get(field) or {}), **(made["metadata"].get(field) or {})}
        if pairs:
            target["metadata"][field] = pairs
    for field in ("data", "binaryData"):
        before: Mapping[str, Any] = (target.get(field) or {}) if merge else {}
        pairs = {**before, **(made.get(field) or {})}
        target.pop(field, None)
        if pairs:
            target[field] = pairs


def hashed_name(obj: Object) -> str:
    """The name with the hash of what the object holds behind it.

    The hash has a place for the name, which kustomize has left empty ever since.
    """
    held: dict[str, Any] = {
        "kind": obj["kind"],
        "name": "",
        "data": obj.get("data", ""),
    }
    if obj["kind"] == "Secret":
        held["type"] = obj.get("type", "")
        if obj.get("stringData"):
            held["stringData"] = obj["stringData"]
    elif obj.get("binaryData"):
        held["binaryData"] = obj["binaryData"]
    digest = hashlib.sha256(_go_json(held).encode()).hexdigest()[:HASH_LENGTH]
    return f"{obj['metadata']['name']}-{digest.translate(_LETTERS)}"


def _go_json(value: Any) -> str:
    """As Go writes it: sorted, without spaces, fit for HTML."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
