"""What a request asks for, and what a rule of a role allows. Pure.

A rule is read once into sets; matching one is then a handful of look-ups.
"""

from collections.abc import Iterable
from typing import NamedTuple

from motorpool.api.meta import Object

ALL = "*"
READ_VERBS = frozenset({"get", "list", "watch"})


class Attributes(NamedTuple):
    """What a request does, to what. *path* is set for what is no resource, and only then."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def qualified(self) -> str:
        """The resource as rules name it, such as ``pods/log``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Rule(NamedTuple):
    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    """Of paths that end in a star."""

    @classmethod
    def of(cls, rule: Object) -> "Rule":
        paths = rule.get("nonResourceURLs") or ()
        return cls(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("resourceNames") or ()),
            frozenset(paths),
            tuple(path[:-1] for path in paths if path.endswith(ALL)),
        )

    def allows(self, asked: Attributes) -> bool:
        if asked.verb not in self.verbs and ALL not in self.verbs:
            return False
        if asked.path:
            return asked.path in self.paths or asked.path.startswith(self.prefixes)
        if asked.group not in self.groups and ALL not in self.groups:
            return False
        if self.names and asked.name not in self.names:
            return False
        resources = self.resources
        return (
            ALL in resources
            or asked.qualified in resources
            or (bool(asked.subresource) and f"{ALL}/{asked.subresource}" in resources)
        )

    def covers(self, other: "Rule") -> bool:
        """Whether whoever has this rule has all of *other*."""
        return (
            _within(other.verbs, self.verbs)
            and _within(other.groups, self.groups)
            and all(self._covers_resource(resource) for resource in other.resources)
            and (not self.names or (bool(other.names) and other.names <= self.names))
            and all(p in self.paths or p.startswith(self.prefixes) for p in other.paths)
        )

    def _covers_resource(self, resource: str) -> bool:
        if ALL in self.resources or resource in self.resources:
            return True
        _, slash, subresource = resource.partition("/")
        return bool(slash) and f"{ALL}/{subresource}" in self.resources


def _within(asked: frozenset[str], held: frozenset[str]) -> bool:
    return ALL in held or asked <= held


def atoms_of(rule: Object) -> Iterable[Object]:
    """The rule in its smallest parts: one verb on one resource or path each.

    Somebody may hold a rule's parts by several rules that each cover some of it.
    """
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield {"verbs": [verb], "nonResourceURLs": [path]}
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                atom: Object = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                names = rule.get("resourceNames") or ()
                if not names:
                    yield atom
                for name in names:
                    yield {**atom, "resourceNames": [name]}


def missing(wanted: Iterable[Object], held: Iterable[Rule]) -> list[Object]:
    """The parts of the rules *wanted* that no rule *held* covers."""
    rules = list(held)
    return [
        atom
        for rule in wanted
        for atom in atoms_of(rule)
        if not any(one.covers(Rule.of(atom)) for one in rules)
    ]


def shown(rule: Object) -> str:
    """A rule as the API prints it: ``{APIGroups:[""], Resources:["pods"], Verbs:["get"]}``."""
    fields = {
        "APIGroups": "apiGroups",
        "Resources": "resources",
        "ResourceNames": "resourceNames",
        "NonResourceURLs": "nonResourceURLs",
        "Verbs": "verbs",
    }
    parts = [
        f"{title}:[{', '.join(f'{chr(34)}{value}{chr(34)}' for value in rule[field])}]"
        for title, field in fields.items()
        if rule.get(field)
    ]
    return "{" + ", ".join(parts) + "}"
