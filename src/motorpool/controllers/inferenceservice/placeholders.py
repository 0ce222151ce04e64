"""`{{.Name}}` and its like in a runtime's container. Pure.

Go's template engine does this in KServe, over the container's JSON and with HTML escaping. Here
each string is filled in by itself, and values are put in as they are. Text in double braces that
is no reference to the object's metadata, such as a Jinja chat template, is left alone; a reference
to a field that metadata does not have is refused, so that a spelling mistake shows.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from motorpool.api.meta import Object, annotations_of, labels_of
from motorpool.controllers.inferenceservice.refusal import INVALID_PREDICTOR_SPEC, Refusal

_FIELD = re.compile(r"\{\{-?\s*\.([A-Za-z][\w]*)(?:\.([\w]+))?\s*-?\}\}")
_INDEX = re.compile(
    r"""\{\{-?\s*index\s+\.(Labels|Annotations)\s+(?:"([^"]*)"|`([^`]*)`)\s*-?\}\}"""
)
_FIELDS = ("Name", "Namespace", "UID", "GenerateName")


def filled(value: Any, isvc: Object) -> Any:
    """*value*, any JSON, with every placeholder in its strings replaced."""
    if isinstance(value, str):
        return _filled_text(value, isvc) if "{{" in value else value
    if isinstance(value, list):
        return [filled(item, isvc) for item in value]
    if isinstance(value, dict):
        return {key: filled(item, isvc) for key, item in value.items()}
    return value


def filled_domain(template: str, variables: Mapping[str, str], keep: Sequence[str] = ()) -> str:
    """A domain template with its variables; an unknown one becomes empty, one of *keep* stays."""
    return _FIELD.sub(
        lambda match: match[0] if match[1] in keep else variables.get(match[1], ""), template
    )


def _filled_text(text: str, isvc: Object) -> str:
    maps = {"Labels": labels_of(isvc), "Annotations": annotations_of(isvc)}
    text = _INDEX.sub(lambda match: maps[match[1]].get(match[2] or match[3] or "", ""), text)
    return _FIELD.sub(lambda match: _field(match, isvc, maps), text)


def _field(match: re.Match[str], isvc: Object, maps: Mapping[str, Mapping[str, str]]) -> str:
    name, key = match[1], match[2]
    if name in maps and key is not None:
        return maps[name].get(key, "")
    if name in _FIELDS and key is None:
        return str(
            isvc["metadata"].get(name[:1].lower() + name[1:] if name != "UID" else "uid", "")
        )
    known = ", ".join((*_FIELDS, "Labels.KEY", "Annotations.KEY"))
    raise Refusal(
        INVALID_PREDICTOR_SPEC,
        f"the runtime's placeholder {match[0]} names no metadata field: use one of {known}",
    )
