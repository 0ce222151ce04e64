"""The files of configMap, secret, downwardAPI and projected volumes: what they hold, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from motorpool.api import core
from motorpool.api.errors import NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at, namespace_of
from motorpool.client import Client
from motorpool.node.command import secret_value
from motorpool.node.downward import FieldError, field_value, resource_value
from motorpool.node.tokens import Tokens

FILE_MODE = 0o644
KINDS = frozenset({"configMap", "secret", "downwardAPI", "projected"})


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What volumes may be filled with beside objects."""

    pod: Object
    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str]


@dataclass(slots=True)
class Files:
    """Content by path, and the modes of those that have one of their own."""

    content: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)

    def put(self, item: Object, content: bytes) -> None:
        """Raises FieldError where the item's path leaves the volume."""
        path = PurePosixPath(str(item["path"]))
        if path.is_absolute() or ".." in path.parts:
            raise FieldError(f"path {item['path']} leaves the volume")
        self.content[str(path)] = content
        if item.get("mode") is not None:
            self.modes[str(path)] = int(item["mode"])


class Contents:
    def __init__(self, client: Client, facts: PodFacts, tokens: Tokens) -> None:
        self._client = client
        self._facts = facts
        self._tokens = tokens

    async def files(self, kind: str, source: Object) -> Files:
        """Raises FieldError for what the volume names and is not there, ApiError."""
        files = Files()
        if kind != "projected":
            await self._add(files, kind, source)
            return files
        for projected in source.get("sources") or ():
            for part, content in projected.items():
                await self._add(files, part, content or {})
        return files

    async def _add(self, files: Files, kind: str, source: Object) -> None:
        match kind:
            case "downwardAPI":
                for item in source.get("items") or ():
                    files.put(item, self._downward(item).encode())
            case "serviceAccountToken":
                files.put(source, await self._tokens.token(self._facts.pod, source))
            case "configMap" | "secret":
                await self._add_object(files, kind, source)
            case _:
                raise FieldError(f"a projected {kind} is not supported on this node")

    async def _add_object(self, files: Files, kind: str, source: Object) -> None:
        name = source.get("secretName") or source.get("name") or ""
        content = await self._content(kind, name)
        if content is None and not source.get("optional"):
            raise FieldError(f'{kind.lower()} "{name}" not found')
        content = content or {}
        items = source.get("items")
        if not items:
            files.content.update(content)
            return
        for item in items:
            if item["key"] in content:
                files.put(item, content[item["key"]])
            elif not source.get("optional"):
                raise FieldError(f"references non-existent config key: {item['key']}")

    async def _content(self, kind: str, name: str) -> dict[str, bytes] | None:
        which: Kind = core.SECRET if kind == "secret" else core.CONFIG_MAP
        try:
            obj = await self._client.get(which, namespace_of(self._facts.pod), name)
        except NotFound:
            return None
        if kind == "secret":
            return {key: secret_value(value) for key, value in (obj.get("data") or {}).items()}
        plain = {key: str(value).encode() for key, value in (obj.get("data") or {}).items()}
        binary = {k: secret_value(value) for k, value in (obj.get("binaryData") or {}).items()}
        return {**plain, **binary}

    def _downward(self, item: Object) -> str:
        facts = self._facts
        if "fieldRef" in item:
            path = item["fieldRef"]["fieldPath"]
            return field_value(facts.pod, path, pod_ip=facts.pod_ip, host_ip=facts.host_ip)
        spec = facts.pod["spec"]
        every = [*spec["containers"], *(spec.get("initContainers") or ())]
        reference = item["resourceFieldRef"]
        containers = {container["name"]: container for container in every}
        container = containers.get(reference.get("containerName", ""), {})
        return resource_value(container, reference, facts.allocatable)


def references_of_volume(volume: Object) -> set[tuple[str, str]]:
    """The configMaps and secrets that its files come from: their kinds and names."""
    found: set[tuple[str, str]] = set()
    for source in _sources(volume):
        if source.get("configMap"):
            found.add(("ConfigMap", str(source["configMap"].get("name", ""))))
        if source.get("secret"):
            secret = source["secret"]
            found.add(("Secret", str(secret.get("secretName") or secret.get("name", ""))))
    return found


def _sources(volume: Object) -> list[Object]:
    return [volume, *(at(volume, "projected", "sources", default=None) or ())]
