"""What KServe checks in webhooks, as rules in the schemas of serving.kserve.io. Pure.

They stand in the definitions, so that they hold on any cluster without a webhook, and the API
server here asks the same ones. A rule sees one part of an object and nothing of its annotations:
what needs more is in `serving_validation`.

A real API server refuses a definition whose rules could become too costly: every list that a rule
goes through has a bound, and a rule stands as near as it can to what it looks at.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from motorpool.api.kinds import Schema
from motorpool.api.serving_fields import FRAMEWORKS

RULES = "x-kubernetes-validations"

NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
KBS_PATTERN = "^kbs:///[^/]+/[^/]+/[^/]+$"
CONTAINERS_MAX = 64
VARIABLES_MAX = 1024
STORAGE_URIS_MAX = 64
FORMATS_MAX = 64
LABEL_LENGTH_MAX = 63

OWN_VARIABLES = ("PYTHONPATH",)
NODE_VARIABLES = ("PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE")
MODELS = (*FRAMEWORKS, "model")


def rule(expression: str, message: str, *, at: str = "", forbidden: bool = False) -> Schema:
    result = {"rule": expression, "message": message}
    if at:
        result["fieldPath"] = at
    if forbidden:
        result["reason"] = "FieldValueForbidden"
    return result


def with_rules(schema: Schema, *rules: Schema) -> Schema:
    return {**schema, RULES: [*(schema.get(RULES) or ()), *rules]}


# Names


def name_rules() -> list[Schema]:
    """For the object as a whole: the longest label that is made of its name must be one."""
    rules = []
    for component in ("predictor", "transformer", "explainer"):
        room = LABEL_LENGTH_MAX - len(f"isvc.-{component}")
        length = "size(self.metadata.name)"
        there = f"!has(self.spec) || !has(self.spec.{component})"
        if component == "predictor":
            own = "self.spec.predictor.name"
            length += f" + (has({own}) ? size({own}) + 1 : 0)"
        text = (
            f"isvc.NAME-{component}, a label of its pods, must be no more than "
            f"{LABEL_LENGTH_MAX} characters: choose a shorter name"
        )
        rules.append(rule(f"{there} || {length} <= {room}", text))
    return rules


# Containers


QUANTITY_PATTERN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"


def bounded_container(container: Schema) -> Schema:
    """*container* with as many variables as rules may look at, and amounts that are amounts."""
    properties = dict(container["properties"])
    properties["env"] = {**properties["env"], "maxItems": VARIABLES_MAX}
    if "resources" in properties:
        properties["resources"] = _measured(properties["resources"])
    return {**container, "properties": properties}


def _measured(resources: Schema) -> Schema:
    """*resources* whose amounts are checked here, not only in the pods that are made of them."""
    fields = dict(resources["properties"])
    for name in ("limits", "requests"):
        amount = {**fields[name]["additionalProperties"], "pattern": QUANTITY_PATTERN}
        fields[name] = {**fields[name], "additionalProperties": amount}
    return {**resources, "properties": fields}


def variable_rule(names: Iterable[str]) -> Schema:
    """For a container: variables that would break the server's own."""
    listed = list(names)
    condition = " && ".join(f"one.name != '{name}'" for name in listed)
    text = f"{' and '.join(listed)} may not be set: the platform sets what the server needs"
    return rule(f"!has(self.env) || self.env.all(one, {condition})", text,
                at=".env", forbidden=True)  # fmt: skip


def pod_lists(fields: Mapping[str, Schema], *rules: Schema) -> dict[str, Schema]:
    """The fields of a pod spec with the rules of its containers."""
    result = dict(fields)
    for name in ("containers", "initContainers"):
        if name in result:
            items = with_rules(bounded_container(result[name]["items"]), *rules)
            result[name] = {**result[name], "items": items, "maxItems": CONTAINERS_MAX}
    return result


COLLOCATED = rule(
    "self.name != 'transformer-container' || !has(self.env) || "
    "self.env.all(one, one.name != 'STORAGE_URI')",
    "STORAGE_URI may not be set for a transformer beside the predictor: it sees the same model",
    at=".env",
    forbidden=True,
)
UNNAMED = rule(
    "!has(self.name) || self.name == ''",
    "must be empty: the container's name is given by the platform",
    at=".name",
    forbidden=True,
)
CONFIDENTIAL = rule(
    "!has(self.confidential) || !has(self.confidential.enabled) || !self.confidential.enabled || "
    "has(self.storageUri)",
    "a confidential model needs a storageUri",
    at=".confidential",
)


# Components


def one_of(component: str, choices: Iterable[str]) -> Schema:
    """Containers beside a model are its sidecars; alone they are the implementation."""
    listed = list(choices)
    given = f"[{', '.join(f'has(self.{name})' for name in listed)}]"
    alone = "has(self.containers) && self.containers.size() > 0"
    if listed:
        alone = f"{given}.exists_one(is, is) || (!{given}.exists(is, is) && {alone})"
    text = f"exactly one of [{', '.join((*listed, 'containers'))}] must be specified in {component}"
    return rule(alone, text)


REPLICAS = rule(
    "!has(self.minReplicas) || !has(self.maxReplicas) || self.maxReplicas == 0 || "
    "self.minReplicas <= self.maxReplicas",
    "must be greater than or equal to minReplicas",
    at=".maxReplicas",
)


def _uri_of(model: str, of: str = "self") -> str:
    has = f"has({of}.{model}) && has({of}.{model}.storageUri)"
    return f"({has} ? {of}.{model}.storageUri : '')"


ONE_SOURCE = rule(
    "!has(self.storageUris) || (" + " && ".join(f"{_uri_of(m)} == ''" for m in MODELS) + ")",
    "may not be used together with storageUri",
    at=".storageUris",
    forbidden=True,
)
RENAMED = rule(
    "(has(self.name) ? self.name : '') == (has(oldSelf.name) ? oldSelf.name : '') || "
    f"{_uri_of('model')} != {_uri_of('model', 'oldSelf')} || "
    "has(self.storageUris) != has(oldSelf.storageUris) || "
    "(has(self.storageUris) && self.storageUris != oldSelf.storageUris)",
    "the predictor's name can only change together with its storageUri",
    at=".name",
    forbidden=True,
)
SEVERAL_NODES = (
    rule(
        f"!has(self.workerSpec) || {_uri_of('model')}.matches('^(pvc|oci)://')",
        "several nodes need a storageUri of scheme pvc or oci",
        at=".model",
    ),
    rule(
        "!has(self.workerSpec) || !has(self.model) || !has(self.model.env) || "
        "self.model.env.all(one, "
        + " && ".join(f"one.name != '{name}'" for name in NODE_VARIABLES)
        + ")",
        f"{' and '.join(NODE_VARIABLES)} may not be set: workerSpec sets them",
        at=".model",
        forbidden=True,
    ),
)


# Storage locations

MOUNT_PATH = rule(
    "self.mountPath != '/' && !self.mountPath.matches('(^|/)[.][.](/|$)')",
    "must be an absolute path below / without ..",
    at=".mountPath",
)
COMMON_ROOT = rule(
    "self.all(one, one.uri.startsWith('pvc://') || self.all(other, "
    "other.uri.startsWith('pvc://') || "
    "one.mountPath.split('/')[1] == other.mountPath.split('/')[1]))",
    "the paths of downloaded models must share a parent directory below /",
)
CLAIMS_APART = rule(
    "self.all(one, !one.uri.startsWith('pvc://') || "
    "self.exists_one(other, other.mountPath == one.mountPath))",
    "each claim must have a mountPath of its own",
)


# Runtimes

PRIORITIES = rule(
    "(has(self.disabled) && self.disabled) || !has(self.supportedModelFormats) || "
    "self.supportedModelFormats.filter(one, has(one.autoSelect) && one.autoSelect && "
    "has(one.priority)).all(one, self.supportedModelFormats.all(other, other.name != one.name || "
    "!has(other.autoSelect) || !other.autoSelect || !has(other.priority) || "
    "other.priority == one.priority))",
    "a model format must have the same priority everywhere in one runtime",
    at=".supportedModelFormats",
)
WORKERS_STAY = rule(
    "!has(oldSelf.workerSpec) || has(self.workerSpec)",
    "cannot be removed once it is set",
    at=".workerSpec",
    forbidden=True,
)


def required_text(schema: dict[str, Any]) -> Schema:
    return {**schema, "minLength": 1}
