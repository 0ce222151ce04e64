"""What a URL path of the API names. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from motorpool.api.kinds import Kind

NAMESPACE_SUBRESOURCES = ("status", "finalize")


class GroupVersion(NamedTuple):
    group: str
    version: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


class Target(NamedTuple):
    """What a path names below a group version. *plural* is "" for the group version itself."""

    group_version: GroupVersion
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watches: bool = False  # the old form of a watch: .../watch/PLURAL


class Catalog:
    """The kinds that are served, by where they stand."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.kinds = tuple(kinds)
        self._by_place = {(k.group, k.version, k.plural): k for k in self.kinds}
        found: dict[str, list[str]] = {}
        for kind in self.kinds:
            versions = found.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        self._by_version: dict[tuple[str, str], list[Kind]] = {}
        for kind in self.kinds:
            self._by_version.setdefault((kind.group, kind.version), []).append(kind)
        self.groups = {
            group: tuple(sorted(versions, key=version_rank)) for group, versions in found.items()
        }
        """Every group with its versions, the preferred one first."""

    def kind(self, target: Target) -> Kind | None:
        return self._by_place.get((*target.group_version, target.plural))

    def kinds_of(self, group_version: GroupVersion) -> list[Kind]:
        return self._by_version.get(group_version, [])

    def serves(self, group_version: GroupVersion) -> bool:
        return group_version.version in self.groups.get(group_version.group, ())


def version_rank(version: str) -> tuple[int, int, int]:
    """Sorts v2, v1, v2beta1, v1beta2, v1alpha1 in that order."""
    digits, rest = "", version[1:]
    while rest and rest[0].isdigit():
        digits, rest = digits + rest[0], rest[1:]
    stage = 0 if not rest else 1 if rest.startswith("beta") else 2
    minor = "".join(c for c in rest if c.isdigit())
    return stage, -int(digits or 0), -int(minor or 0)


def target_of(path: str) -> Target | None:
    """For ``/api/v1/...`` and ``/apis/GROUP/VERSION/...``; None for any other path."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 2:
        group_version, rest = GroupVersion("", parts[1]), parts[2:]
    elif parts[0] == "apis" and len(parts) >= 3:
        group_version, rest = GroupVersion(parts[1], parts[2]), parts[3:]
    else:
        return None
    watches = len(rest) > 1 and rest[0] == "watch"
    if watches:
        rest = rest[1:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and not _names_namespace(rest):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3 or not all(rest):
        return None
    plural, name, subresource = (*rest, "", "", "")[:3]
    return Target(group_version, plural, namespace, name, subresource, watches)


def _names_namespace(rest: list[str]) -> bool:
    """``namespaces/X/status`` is the status of a namespace, not a kind named status."""
    return len(rest) == 3 and rest[2] in NAMESPACE_SUBRESOURCES
