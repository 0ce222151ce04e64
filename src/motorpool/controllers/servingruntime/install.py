"""Puts the shipped configuration and runtimes into the API, at every start.

Server-side apply makes that idempotent: what ships is restored, what users added stays, and nothing
is written where nothing differs.
"""

import asyncio
from collections.abc import Callable, Sequence
from importlib.resources import files

import yaml

from motorpool.api import core, serving
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at, sorted_by_name
from motorpool.client import Client
from motorpool.controllers.servingruntime.configuration import config_map
from motorpool.controllers.servingruntime.release import IMAGES

FIELD_MANAGER = "motorpool-install"
CLUSTER_WIDE = ("kserve-lgbserver", "kserve-pmmlserver", "kserve-sklearnserver", "kserve-xgbserver")
"""What of the catalogue is there without asking: it runs on this machine, and none of the seven
serves its formats. More of it would be selected for models that the seven serve."""


async def install(
    client: Client,
    namespace: str,
    *,
    cluster_runtimes: bool,
    has_program: Callable[[str], bool] = lambda image: True,
    headless_services: bool = True,
) -> None:
    """Makes *namespace* hold the configuration and the runtimes that ship with the platform.

    With *cluster_runtimes* every namespace can use the runtimes; without, they must be copied into
    the namespace that uses them, as on MicroShift. Nothing is deleted. A placeholder for which this
    machine has no program (*has_program*) gives way to the image that it stands for: whatever runs
    that image has to pull it.
    """
    shipped = shipped_objects(
        namespace, cluster_runtimes=cluster_runtimes, headless_services=headless_services
    )
    objects = [(kind, _pullable(obj, has_program)) for kind, obj in shipped]
    first, *others = objects
    await client.apply(first[0], first[1], manager=FIELD_MANAGER)
    await asyncio.gather(*(client.apply(kind, obj, manager=FIELD_MANAGER) for kind, obj in others))


def _pullable(obj: Object, has_program: Callable[[str], bool]) -> Object:
    containers = at(obj, "spec", "containers", default=())
    if all(c["image"] not in IMAGES or has_program(c["image"]) for c in containers):
        return obj
    resolved = [
        c if has_program(c["image"]) else {**c, "image": IMAGES.get(c["image"], c["image"])}
        for c in containers
    ]
    return {**obj, "spec": {**obj["spec"], "containers": resolved}}


def shipped_objects(
    namespace: str, *, cluster_runtimes: bool, headless_services: bool = True
) -> list[tuple[Kind, Object]]:
    """Everything that `install` applies, the namespace first."""
    objects: list[tuple[Kind, Object]] = [
        (core.NAMESPACE, _namespace(namespace)),
        (core.CONFIG_MAP, config_map(namespace, headless=headless_services)),
    ]
    for runtime in shipped_runtimes():
        metadata = runtime["metadata"]
        namespaced = {**runtime, "metadata": {**metadata, "namespace": namespace}}
        objects.append((serving.SERVING_RUNTIME, namespaced))
        if cluster_runtimes:
            kind = serving.CLUSTER_SERVING_RUNTIME
            objects.append((kind, {**runtime, "kind": kind.kind}))
    if cluster_runtimes:
        kind = serving.CLUSTER_SERVING_RUNTIME
        others = _runtimes("catalogue", CLUSTER_WIDE)
        objects += [(kind, {**runtime, "kind": kind.kind}) for runtime in others]
    return objects


def shipped_runtimes() -> Sequence[Object]:
    """The seven of MicroShift, without a namespace, by name."""
    return _runtimes("runtimes")


def catalogue() -> Sequence[Object]:
    """The runtimes of KServe and of other releases, for whoever asks for one; by name."""
    return _runtimes("catalogue")


def _runtimes(folder: str, names: Sequence[str] = ()) -> Sequence[Object]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    place = files("motorpool.controllers.servingruntime").joinpath(folder)
    chosen = [place.joinpath(f"{name}.yaml") for name in names] or [
        file for file in place.iterdir() if file.name.endswith(".yaml")
    ]
    return sorted_by_name(yaml.load(f.read_text("utf-8"), Loader=loader) for f in chosen)


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
