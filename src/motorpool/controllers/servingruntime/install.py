"""Puts the shipped configuration and runtimes into the API, at every start.

Server-side apply makes that idempotent: what ships is restored, what users added stays, and nothing
is written where nothing differs.
"""

import asyncio
from collections.abc import Sequence
from importlib.resources import files

import yaml

from motorpool.api import core, serving
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, sorted_by_name
from motorpool.client import Client
from motorpool.controllers.servingruntime.configuration import config_map

FIELD_MANAGER = "motorpool-install"


async def install(client: Client, namespace: str, *, cluster_runtimes: bool) -> None:
    """Makes *namespace* hold the configuration and the runtimes that ship with the platform.

    With *cluster_runtimes* every namespace can use the runtimes; without, they must be copied into
    the namespace that uses them, as on MicroShift. Nothing is deleted.
    """
    objects = shipped_objects(namespace, cluster_runtimes=cluster_runtimes)
    first, *others = objects
    await client.apply(first[0], first[1], manager=FIELD_MANAGER)
    await asyncio.gather(*(client.apply(kind, obj, manager=FIELD_MANAGER) for kind, obj in others))


def shipped_objects(namespace: str, *, cluster_runtimes: bool) -> list[tuple[Kind, Object]]:
    """Everything that `install` applies, the namespace first."""
    objects: list[tuple[Kind, Object]] = [
        (core.NAMESPACE, _namespace(namespace)),
        (core.CONFIG_MAP, config_map(namespace)),
    ]
    for runtime in shipped_runtimes():
        metadata = runtime["metadata"]
        namespaced = {**runtime, "metadata": {**metadata, "namespace": namespace}}
        objects.append((serving.SERVING_RUNTIME, namespaced))
        if cluster_runtimes:
            kind = serving.CLUSTER_SERVING_RUNTIME
            objects.append((kind, {**runtime, "kind": kind.kind}))
    return objects


def shipped_runtimes() -> Sequence[Object]:
    """The runtimes, without a namespace, by name."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    folder = files("motorpool.controllers.servingruntime").joinpath("runtimes")
    texts = [f.read_text("utf-8") for f in folder.iterdir() if f.name.endswith(".yaml")]
    return sorted_by_name(yaml.load(text, Loader=loader) for text in texts)


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
