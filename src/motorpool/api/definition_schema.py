"""The schema of a CustomResourceDefinition itself. Pure.

It holds schemas, so the type of a schema refers to itself: such a dict contains itself, and whoever
walks it must follow a value, as all do here, or stop at a name seen before.
"""

from functools import cache
from typing import Any

from motorpool.api.kinds import Schema
from motorpool.api.kubernetestypes import PRESERVE, TYPE_NAME

_TYPES = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

_STRING: Schema = {"type": "string"}
_STRINGS: Schema = {"type": "array", "items": _STRING, "x-kubernetes-list-type": "atomic"}
_BOOLEAN: Schema = {"type": "boolean"}
_INTEGER: Schema = {"type": "integer", "format": "int64"}
_NUMBER: Schema = {"type": "number"}
_ANYTHING: Schema = {PRESERVE: True}


@cache
def definition() -> Schema:
    spec = _type(
        "CustomResourceDefinitionSpec",
        conversion=_type("CustomResourceConversion", strategy=_STRING, webhook=_ANYTHING),
        group=_STRING,
        names=_names(),
        preserveUnknownFields=_BOOLEAN,
        scope=_STRING,
        versions=_list(_version()),
    )
    status = _type(
        "CustomResourceDefinitionStatus",
        acceptedNames=_names(),
        conditions=_condition_list(),
        storedVersions=_STRINGS,
    )
    return _type(
        "CustomResourceDefinition",
        apiVersion=_STRING,
        kind=_STRING,
        metadata={"type": "object"},
        spec=spec,
        status=status,
    )


def _type(name: str, /, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, TYPE_NAME: _TYPES + name}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "x-kubernetes-list-type": "atomic"}


def _condition_list() -> Schema:
    names = ("lastTransitionTime", "message", "reason", "status", "type")
    condition = _type("CustomResourceDefinitionCondition", **dict.fromkeys(names, _STRING))
    return {
        **_list(condition),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }


@cache
def _names() -> Schema:
    names = ("kind", "listKind", "plural", "singular")
    return _type(
        "CustomResourceDefinitionNames",
        **dict.fromkeys(names, _STRING),
        categories=_STRINGS,
        shortNames=_STRINGS,
    )


def _version() -> Schema:
    column = _type(
        "CustomResourceColumnDefinition",
        **dict.fromkeys(("description", "format", "jsonPath", "name", "type"), _STRING),
        priority={"type": "integer", "format": "int32"},
    )
    scale = _type(
        "CustomResourceSubresourceScale",
        **dict.fromkeys(("labelSelectorPath", "specReplicasPath", "statusReplicasPath"), _STRING),
    )
    status = {
        "type": "object",
        PRESERVE: True,
        TYPE_NAME: _TYPES + "CustomResourceSubresourceStatus",
    }
    return _type(
        "CustomResourceDefinitionVersion",
        additionalPrinterColumns=_list(column),
        deprecated=_BOOLEAN,
        deprecationWarning=_STRING,
        name=_STRING,
        schema=_type("CustomResourceValidation", openAPIV3Schema=_json_schema()),
        selectableFields=_list(_type("SelectableField", jsonPath=_STRING)),
        served=_BOOLEAN,
        storage=_BOOLEAN,
        subresources=_type("CustomResourceSubresources", scale=scale, status=status),
    )


@cache
def _json_schema() -> Schema:
    """JSONSchemaProps, which refers to itself."""
    itself: Schema = {"type": "object", TYPE_NAME: _TYPES + "JSONSchemaProps"}
    texts = ("$ref", "$schema", "description", "format", "id", "pattern", "title", "type",
             "x-kubernetes-list-type", "x-kubernetes-map-type")  # fmt: skip
    flags = ("exclusiveMaximum", "exclusiveMinimum", "nullable", "uniqueItems",
             "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
             "x-kubernetes-preserve-unknown-fields")  # fmt: skip
    counts = ("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties")
    maps = ("definitions", "patternProperties", "properties")
    # These may be something else than a schema: their type is looked at by the rules.
    either: dict[str, Any] = {TYPE_NAME: _TYPES + "JSONSchemaPropsOrBool"}
    itself["properties"] = {
        **dict.fromkeys(texts, _STRING),
        **dict.fromkeys(flags, _BOOLEAN),
        **dict.fromkeys(counts, _INTEGER),
        **dict.fromkeys(("maximum", "minimum", "multipleOf"), _NUMBER),
        **dict.fromkeys(("default", "example"), _ANYTHING),
        **dict.fromkeys(("allOf", "anyOf", "oneOf"), _list(itself)),
        **{name: {"type": "object", "additionalProperties": itself} for name in maps},
        **dict.fromkeys(("required", "x-kubernetes-list-map-keys"), _STRINGS),
        **dict.fromkeys(("additionalItems", "additionalProperties", "items"), either),
        "dependencies": {"type": "object", "additionalProperties": _ANYTHING},
        "enum": {"type": "array", "items": _ANYTHING, "x-kubernetes-list-type": "atomic"},
        "externalDocs": _type("ExternalDocumentation", description=_STRING, url=_STRING),
        "not": itself,
        "x-kubernetes-validations": {
            "type": "array",
            "items": _rule(),
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["rule"],
        },
    }
    either["properties"] = itself["properties"]
    return itself


def _rule() -> Schema:
    names = ("fieldPath", "message", "messageExpression", "reason", "rule")
    return _type("ValidationRule", **dict.fromkeys(names, _STRING), optionalOldSelf=_BOOLEAN)
