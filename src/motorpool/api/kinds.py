"""A kind is a table entry plus its own rules: this file says what an entry holds. Pure.

Everything that the API server does for a kind follows from its entry, so that adding one takes
no code anywhere else. The entries themselves stand in one file per API group (`core.py`,
`apps.py`, `serving.py` ...), and `scheme.py` lists them all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from motorpool.api.errors import FieldError
from motorpool.api.meta import Object

Schema: TypeAlias = dict[str, Any]
"""An OpenAPI v3 structural schema, with the ``x-kubernetes-*`` extensions."""

Default: TypeAlias = Callable[[Object], None]
"""Fills in what an omitted field means. May change its argument; must be idempotent."""

Validate: TypeAlias = Callable[[Object, Object | None], Sequence[FieldError]]
"""Every reason to refuse the new object; the second argument is the old one, None at create."""

Read: TypeAlias = Callable[[Object], Object]
"""Leaves its argument alone, which is shared; may give it back."""

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of ``kubectl get``. *cell* gives the JSON value; *now* serves ages."""

    name: str
    cell: Callable[[Object, datetime], Any]
    type: Literal["string", "integer", "number", "boolean", "date"] = "string"
    priority: int = 0  # 0 is always shown, 1 with -o wide
    format: str = ""
    description: str = ""
    json_path: str = ""  # where a custom resource's column finds its value


@dataclass(frozen=True, slots=True)
class Subresource:
    """Something below an object's path: ``status``, ``scale``, ``log`` ..."""

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    group: str = ""  # where the subresource's own kind lives, if elsewhere
    version: str = ""
    kind: str = ""  # "" means the parent's kind


STATUS = Subresource("status")


@dataclass(frozen=True, slots=True)
class Scale:
    """Where an object keeps what its scale subresource shows."""

    spec_replicas: tuple[str, ...] = ("spec", "replicas")
    status_replicas: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ("spec", "selector")
    is_custom: bool = False
    """A custom resource holds its selector as text, and need not have replicas at all."""


def open_schema() -> Schema:
    """Accepts any object."""
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def no_default(_: Object) -> None:
    """Nothing to fill in."""


def no_rules(_: Object, __: Object | None) -> Sequence[FieldError]:
    return ()


def same_object(obj: Object) -> Object:
    """For a view that differs from what is stored in nothing."""
    return obj


def no_conditions(_: Object) -> Sequence[Object]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    group: str  # "" is the core group
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    list_kind: str = ""  # "" is the kind with List behind it
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    subresources: tuple[Subresource, ...] = ()
    has_generation: bool = False
    """Whether metadata.generation is kept: 1 at create, +1 with every change of the spec."""
    delete_returns_object: bool = False
    """Whether DELETE answers with the object even when it is gone at once."""
    update_needs_resource_version: bool = False
    update_may_create: bool = False
    is_custom: bool = False
    """A custom resource: no strategic merge patch, unknown fields are pruned, sorted keys."""
    name_rule: Literal["subdomain", "label", "label1035", "path-segment"] = "subdomain"
    schema: Callable[[], Schema] = open_schema
    """Called once, on first use: schemas are large."""
    default: Default = no_default
    validate: Validate = no_rules
    read: Read | None = None
    """Makes of a stored object what this version shows; None where they are the same."""
    scale: Scale = Scale()
    warning: str = ""
    """What every client of this version is told: that it is deprecated."""
    is_ending: bool = False
    """Its definition is being deleted: nothing new is created."""
    columns: tuple[Column, ...] = ()
    """What ``kubectl get`` shows; none means NAME and AGE."""
    row_conditions: Callable[[Object], Sequence[Object]] = no_conditions
    """What a row of the table says of its object, such as that a pod has completed."""
    selectable_fields: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)
    """Field selectors beyond metadata.name and metadata.namespace; they read a stored object."""
    stored_as: "Kind | None" = None
    """The kind whose objects these are, where this one is another view or version of them."""
    to_stored: Callable[[Object], Object] = same_object
    """From this view to what is stored. Leaves its argument alone; shares what it does not change.
    It and ``read``, the way back, keep the metadata and write ``apiVersion`` and ``kind``."""
    is_virtual: bool = False
    """Made when it is asked for, by a source that the registry is given; never stored."""
    orphans_dependents: bool = False
    """Whether a delete that names no propagation policy leaves the dependents alone."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name in messages: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def stored(self) -> "Kind":
        """The kind under which the objects are kept: itself, but for a view."""
        return self.stored_as or self

    @property
    def list_name(self) -> str:
        """The kind of a list of them."""
        return self.list_kind or f"{self.kind}List"

    @property
    def has_status(self) -> bool:
        return any(sub.name == "status" for sub in self.subresources)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object or subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)

    def __hash__(self) -> int:
        return hash((self.group, self.version, self.plural))

    def __str__(self) -> str:
        return self.resource
