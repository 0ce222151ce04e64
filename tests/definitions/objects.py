"""A definition that has a little of everything, and what tests ask of it."""

from copy import deepcopy

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/ex.io/v1/namespaces/default/widgets"

SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "description": "What the widget should be.",
            "properties": {
                "size": {
                    "type": "integer", "minimum": 1, "maximum": 10, "default": 3,
                    "description": "How large it is.",
                },
                "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                "nul": {"type": "string", "nullable": True},
                "when": {"type": "string", "format": "date-time"},
                "ios": {"x-kubernetes-int-or-string": True},
                "m": {"type": "object", "additionalProperties": {"type": "integer"}},
                "replicas": {"type": "integer"},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "tpl": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "x-kubernetes-preserve-unknown-fields": True,
                },
                "list": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "v": {"type": "string", "default": "dv"},
                        },
                    },
                },
            },
        },
        "status": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
        },
    },
}  # fmt: skip

COLUMNS = [
    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "priority": 1},
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": ".status.conditions[?(@.type=='Ready')].status",
    },
    {"name": "When", "type": "date", "jsonPath": ".spec.when"},
    {"name": "B", "type": "boolean", "jsonPath": ".spec.any.b"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def version(name="v1", *, storage=True, **fields):
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": deepcopy(SCHEMA)},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": deepcopy(COLUMNS),
        **fields,
    }


def definition(*versions, plural="widgets", kind="Widget", short="wd", **spec):
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.ex.io"},
        "spec": {
            "group": "ex.io",
            "names": {
                "plural": plural, "singular": kind.lower(), "kind": kind, "shortNames": [short],
                "listKind": f"{kind}List", "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": list(versions) or [version()],
            **spec,
        },
    }  # fmt: skip


def schema_version(spec, name="v1", **root):
    """A version whose spec has these properties and nothing else is said."""
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": spec}},
        **root,
    }
    return {
        "name": name,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }


def widget(name="w", api_version="ex.io/v1", **spec):
    return {
        "apiVersion": api_version,
        "kind": "Widget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }
