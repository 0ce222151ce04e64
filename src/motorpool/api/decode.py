"""Request bodies as values: JSON, YAML and Kubernetes' protobuf. Pure.

Duplicate keys are looked for only when asked, because the fast parser cannot see them: the last
one wins, as on every API server.
"""

import json
from typing import Any, NamedTuple

import msgspec

from motorpool.api import gojson, protobuf
from motorpool.api.errors import BadRequest, UnsupportedMediaType

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)

YAML_NODES_MAX = 1_000_000  # values after aliases are expanded; 3 MiB of plain YAML hold fewer
_SUMMARY_MAX = 30  # bytes of a bad body that the message repeats


class Decoded(NamedTuple):
    object: Any
    duplicates: list[str]
    """Paths of keys that occur twice in one map, such as ``metadata.name``."""


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def decode(
    body: bytes, content_type: str, *, kind: str = "", find_duplicates: bool = False
) -> Decoded:
    """The object in the body of a create, an update or a delete.

    No content type means JSON. *kind* is named in messages. Raises BadRequest or
    UnsupportedMediaType.
    """
    media = media_type(content_type) or JSON
    if media in (JSON, YAML):
        problem, decoded = _text_object(body, media, find_duplicates)
    elif media == PROTOBUF:
        problem, decoded = _protobuf(body)
    else:
        accepted = ", ".join((JSON, YAML, PROTOBUF))
        raise UnsupportedMediaType(_unknown_format(accepted))
    if problem:
        wanted = f" (must be of type {kind})" if kind else ""
        raise BadRequest(
            f"the object provided is unrecognized{wanted}: {problem} ({_summary(body)})"
        )
    return decoded


def decode_patch(
    body: bytes,
    content_type: str,
    *,
    accepted: tuple[str, ...] = PATCHES,
    find_duplicates: bool = False,
) -> Decoded:
    """The patch in the body of a PATCH; *accepted* are the types that the kind knows."""
    media = media_type(content_type)
    if media not in PATCHES:
        raise UnsupportedMediaType("415: Unsupported Media Type", details={})
    if media not in accepted:
        raise UnsupportedMediaType(_unknown_format(", ".join(accepted)))
    if media == APPLY_PATCH:
        problem, decoded = _yaml(body, find_duplicates)
        if not problem and not isinstance(decoded.object, dict):
            problem = f"expected an object, got {gojson.type_name(decoded.object)}"
        if problem:
            raise BadRequest(f"error decoding YAML: {problem}")
        return decoded
    error, decoded = _plain_json(body, find_duplicates)
    if not error:
        error = _wrong_shape(decoded.object, media)
    if error:
        raise BadRequest(f"error decoding patch: {error}")
    return decoded


def _wrong_shape(patch: Any, media: str) -> str:
    if media == JSON_PATCH and not isinstance(patch, list):
        what = gojson.type_name(patch)
        return f"json: cannot unmarshal {what} into Go value of type []handlers.jsonPatchOp"
    if media != JSON_PATCH and not isinstance(patch, dict):
        what = gojson.type_name(patch)
        return f"json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
    return ""


def _unknown_format(accepted: str) -> str:
    return (
        "the body of the request was in an unknown format - accepted media types include: "
        + accepted
    )


def _summary(body: bytes) -> str:
    if not body:
        return "<empty>"
    shown, more = body[:_SUMMARY_MAX], " ..." if len(body) > _SUMMARY_MAX else ""
    if body.startswith(b"{"):
        return shown.decode(errors="replace") + more
    return shown.hex() + more


_NOTHING = Decoded(None, [])


def _plain_json(body: bytes, find_duplicates: bool) -> tuple[str, Decoded]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return gojson.syntax_error(body) or str(error), _NOTHING
    return "", Decoded(value, _duplicates_of(body) if find_duplicates else [])


_NOT_AN_OBJECT = (
    "json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string "
    '"json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }}'
)


def _text_object(body: bytes, media: str, find_duplicates: bool) -> tuple[str, Decoded]:
    """A JSON or YAML body, which must be a map."""
    read = _yaml if media == YAML else _plain_json
    problem, decoded = read(body, find_duplicates)
    if not problem and not isinstance(decoded.object, dict):
        problem = _NOT_AN_OBJECT.format(what=gojson.type_name(decoded.object))
    if problem:
        return f"couldn't get version/kind; json parse error: {problem}", _NOTHING
    return "", decoded


class _Repeated(dict[str, Any]):
    """A map whose text named a key twice."""

    keys_repeated: list[str]


def _duplicates_of(body: bytes) -> list[str]:
    found_any = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found_any
        result = dict(items)
        if len(result) == len(items):
            return result
        found_any = True
        repeated = _Repeated(result)
        seen: set[str] = set()
        repeated.keys_repeated = [
            key
            for key, _ in items
            if key in seen or seen.add(key)  # type: ignore[func-returns-value]
        ]
        return repeated

    value = json.loads(body, object_pairs_hook=pairs)
    return _paths(value, "") if found_any else []


def _paths(value: Any, path: str) -> list[str]:
    if isinstance(value, list):
        return [p for i, item in enumerate(value) for p in _paths(item, f"{path}[{i}]")]
    if not isinstance(value, dict):
        return []
    prefix = f"{path}." if path else ""
    found = [prefix + key for key in getattr(value, "keys_repeated", ())]
    for key, item in value.items():
        found += _paths(item, prefix + key)
    return list(dict.fromkeys(found))


def _protobuf(body: bytes) -> tuple[str, Decoded]:
    try:
        return "", Decoded(protobuf.decode(body), [])
    except protobuf.ProtobufError as error:
        return str(error), _NOTHING


def _yaml(body: bytes, find_duplicates: bool) -> tuple[str, Decoded]:
    from motorpool.api import yamlbody  # PyYAML costs 15 ms that `--help` need not pay

    try:
        value, duplicates = yamlbody.load(body, nodes_max=YAML_NODES_MAX)
    except yamlbody.YamlError as error:
        return str(error), _NOTHING
    return "", Decoded(value, duplicates if find_duplicates else [])
