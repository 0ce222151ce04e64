"""One object on its way through a kustomization, and what it was called before."""

from dataclasses import dataclass, field
from typing import NamedTuple

from motorpool.api.meta import Object


class KustomizeError(ValueError):
    """A kustomization that cannot be built; the text says where and why."""


class Id(NamedTuple):
    group: str
    kind: str
    namespace: str
    name: str


@dataclass(slots=True, eq=False)
class Resource:
    obj: Object  # its own: changed in place
    past: list[Id] = field(default_factory=list)
    needs_hash: bool = False

    @property
    def id(self) -> Id:
        metadata = self.obj.get("metadata") or {}
        group = str(self.obj.get("apiVersion", "")).rpartition("/")[0]
        return Id(
            group, self.kind, str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
        )

    @property
    def kind(self) -> str:
        return str(self.obj.get("kind", ""))

    @property
    def name(self) -> str:
        return self.id.name

    @property
    def ids(self) -> list[Id]:
        """What it is, then what it was, the latest first."""
        return [self.id, *reversed(self.past)]

    @property
    def first(self) -> Id:
        """As it was written."""
        return self.past[0] if self.past else self.id

    def remember(self) -> None:
        """Its name is about to change."""
        if not self.past or self.past[-1] != self.id:
            self.past.append(self.id)


def same_namespace(one: str, other: str) -> bool:
    return (one or "default") == (other or "default")


def object_of(document: object, where: str) -> Object:
    """Raises KustomizeError where *document* is none of Kubernetes' objects."""
    if not isinstance(document, dict):
        raise KustomizeError(f"{where}: not an object, but {type(document).__name__}")
    for key in ("apiVersion", "kind"):
        if not isinstance(document.get(key), str) or not document[key]:
            raise KustomizeError(f"{where}: an object without {key}")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        if document["kind"].endswith("List"):
            return document
        raise KustomizeError(f"{where}: a {document['kind']} without metadata.name")
    return document
