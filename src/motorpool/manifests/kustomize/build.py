"""A kustomization directory becomes objects, in kustomize's own order of doing things.

    resources and bases -> generators -> patchesStrategicMerge -> patches -> namespace
    -> prefix -> suffix -> labels -> annotations -> patchesJson6902 -> replicas -> images
    and, once all are together: hashes -> references -> order

Rule: files are read from below the kustomization that names them and from nowhere else, bases
apart, as kustomize has it: a manifest cannot take what else lies on the disk.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motorpool.api.meta import Object
from motorpool.api.yamlbody import YamlError, load_all
from motorpool.manifests.kustomize import transform
from motorpool.manifests.kustomize.generate import generate, hashed_name
from motorpool.manifests.kustomize.kustomization import FILE_NAMES, Unsupported, checked
from motorpool.manifests.kustomize.patching import patch
from motorpool.manifests.kustomize.references import update_references
from motorpool.manifests.kustomize.resource import KustomizeError, Resource, object_of

NODES_MAX = 1_000_000
DEPTH_MAX = 32
_FIRST = (
    "Namespace", "ResourceQuota", "StorageClass", "CustomResourceDefinition", "ServiceAccount",
    "PodSecurityPolicy", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ConfigMap",
    "Secret", "Endpoints", "Service", "LimitRange", "PriorityClass", "PersistentVolume",
    "PersistentVolumeClaim", "Deployment", "StatefulSet", "CronJob", "PodDisruptionBudget",
)  # fmt: skip
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def build(directory: Path) -> list[Object]:
    """The objects of a kustomization, in the order in which they are to be applied.

    Raises KustomizeError; Unsupported where only kustomize itself could build it.
    """
    resources = _Directory(directory, ()).build()
    for resource in resources:
        if resource.needs_hash:
            resource.remember()
            resource.obj["metadata"]["name"] = hashed_name(resource.obj)
    update_references(resources)
    return [resource.obj for resource in sorted(resources, key=_order)]


def kustomization_file(directory: Path) -> Path:
    """Raises KustomizeError where there is none, or more than one."""
    found = [directory / name for name in FILE_NAMES if (directory / name).is_file()]
    if len(found) != 1:
        what = "no kustomization" if not found else "more than one kustomization"
        raise KustomizeError(f"{what} in {directory}; it is one of {', '.join(FILE_NAMES)}")
    return found[0]


def _order(resource: Resource) -> tuple[Any, ...]:
    kind, id_ = resource.kind, resource.id
    group, _, version = str(resource.obj["apiVersion"]).rpartition("/")
    place = (
        _FIRST.index(kind) - len(_FIRST) if kind in _FIRST
        else _LAST.index(kind) + 1 if kind in _LAST
        else 0
    )  # fmt: skip
    return place, group, version, kind, id_.namespace, id_.name


class _Directory:
    """One kustomization on the way down; *above* are those that led here."""

    def __init__(self, directory: Path, above: tuple[Path, ...]) -> None:
        self._root = directory.resolve()
        if self._root in above:
            raise KustomizeError(f"{directory} is a base of itself")
        if len(above) >= DEPTH_MAX:
            raise KustomizeError(f"{directory}: more than {DEPTH_MAX} bases on top of each other")
        self._above = (*above, self._root)
        file = kustomization_file(self._root)
        self._where = str(file)
        documents = _documents(_bytes(file), self._where)
        if len(documents) > 1:
            raise KustomizeError(f"{file}: more than one document")
        self._says = checked(documents[0] if documents else None, self._where)

    def build(self) -> list[Resource]:
        says = self._says
        resources = self._resources()
        for kind, field in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
            for entry in says.get(field, ()):
                options = says.get("generatorOptions") or {}
                with self._placed():
                    generate(resources, kind, entry, options, self._read)
        for text in says.get("patchesStrategicMerge", ()):
            patch(resources, self._patch_of({"path": text}, inline=text), None, self._where)
        for entry in says.get("patches", ()):
            self._patch(resources, entry)
        self._transform(resources)
        return resources

    def _transform(self, resources: list[Resource]) -> None:
        says = self._says
        if says.get("namespace"):
            transform.set_namespace(resources, says["namespace"])
        prefix, suffix = says.get("namePrefix", ""), says.get("nameSuffix", "")
        if prefix or suffix:
            transform.rename(resources, lambda name: f"{prefix}{name}{suffix}")
        for entry in says.get("labels", ()):
            transform.add_labels(
                resources,
                entry["pairs"],
                selectors=bool(entry.get("includeSelectors")),
                in_templates=bool(entry.get("includeTemplates")),
            )
        if says.get("commonLabels"):
            transform.add_labels(resources, says["commonLabels"], selectors=True)
        if says.get("commonAnnotations"):
            transform.add_annotations(resources, says["commonAnnotations"])
        for entry in says.get("patchesJson6902", ()):
            self._patch(resources, entry)
        with self._placed():
            transform.set_replicas(resources, says.get("replicas", ()))
        transform.set_images(resources, says.get("images", ()))

    @contextmanager
    def _placed(self) -> Iterator[None]:
        """What goes wrong is told with the file that asked for it."""
        try:
            yield
        except KustomizeError as error:
            text = str(error)
            raise KustomizeError(
                text if self._where in text else f"{self._where}: {text}"
            ) from None

    def _resources(self) -> list[Resource]:
        found: list[Resource] = []
        for text in (*self._says.get("resources", ()), *self._says.get("bases", ())):
            if "://" in text or text.startswith("git@") or "?ref=" in text:
                raise Unsupported(f"{self._where}: {text} is not on this machine")
            path = self._root / text
            is_base = path.is_dir()
            added = _Directory(path, self._above).build() if is_base else self._of_file(text)
            for resource in added:
                if any(one.id == resource.id for one in found):
                    id_ = resource.id
                    raise KustomizeError(f"{self._where}: {id_.kind} {id_.name} is there twice")
                found.append(resource)
        return found

    def _of_file(self, text: str) -> list[Resource]:
        found = []
        for document in _documents(self._read(text), text):
            obj = object_of(document, text)
            items = obj.get("items") if obj["kind"].endswith("List") else None
            parts = [object_of(item, text) for item in items] if items is not None else [obj]
            found += [Resource(copy.deepcopy(part)) for part in parts]
        return found

    def _patch(self, resources: list[Resource], entry: Object) -> None:
        target = entry.get("target")
        patch(resources, self._patch_of(entry), target, self._where, entry.get("options"))

    def _patch_of(self, entry: Object, inline: str = "") -> Sequence[Any]:
        """The documents of a patch that is a file, or stands in the kustomization."""
        text = entry.get("patch")
        if "\n" in inline:  # As kustomize tells a patch from the path of one.
            text = inline
        if text is None and not entry.get("path"):
            raise KustomizeError(f"{self._where}: a patch with neither path nor patch")
        if text is not None:
            return _documents(text.encode(), self._where)
        return _documents(self._read(entry["path"]), entry["path"])

    def _read(self, text: str) -> bytes:
        path = (self._root / text).resolve()
        if not path.is_relative_to(self._root):
            raise KustomizeError(f"{self._where}: {text} is not below {self._root}")
        return _bytes(path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KustomizeError(f"{path}: {error.strerror}") from error


def _documents(body: bytes, where: str) -> list[Any]:
    try:
        return [one for one in load_all(body, nodes_max=NODES_MAX) if one is not None]
    except YamlError as error:
        raise KustomizeError(f"{where}: {error}") from error
