"""Which versions of a model are served: OpenVINO Model Server's version policies. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec


class VersionPolicy(msgspec.Struct, frozen=True):
    latest: int | None = 1  # that many of the highest; None: as many as there are
    specific: frozenset[int] | None = None  # those alone; None: any

    def choose(self, versions: Iterable[int]) -> list[int]:
        """The versions to serve among those that exist, lowest first."""
        ordered = sorted(set(versions))
        if self.specific is not None:
            return [number for number in ordered if number in self.specific]
        return ordered if self.latest is None else ordered[-self.latest :]


LATEST = VersionPolicy()


def parse_policy(text: str) -> VersionPolicy:
    """From the command line. Raises ValueError."""
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"Model version policy is in wrong format: {error}") from None
    return policy_of(document)


def policy_of(document: Any) -> VersionPolicy:
    """From its JSON. Raises ValueError."""
    if not isinstance(document, dict) or len(document) != 1:
        raise ValueError("Model version policy is in wrong format: it takes exactly one key")
    ((kind, details),) = document.items()
    if kind not in ("latest", "all", "specific"):
        raise ValueError("Model version policy contains unsupported key")
    if kind == "all":
        return VersionPolicy(latest=None)
    details = details if isinstance(details, dict) else {"num_versions": 0}
    if kind == "latest":
        count = details.get("num_versions", 1)
        if not _is_version(count):
            raise ValueError("Model version policy is in wrong format: num_versions is a number")
        return VersionPolicy(latest=count)
    versions = details.get("versions")
    if not isinstance(versions, list) or not versions or not all(map(_is_version, versions)):
        raise ValueError("Model version policy is in wrong format: versions is a list of numbers")
    return VersionPolicy(latest=None, specific=frozenset(versions))


def _is_version(value: Any) -> bool:
    return type(value) is int and value >= 1
