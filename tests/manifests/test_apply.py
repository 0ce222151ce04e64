"""Which directories are applied, in which order, and what happens to those that fail."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from motorpool.api import core, scheme
from motorpool.api.errors import Forbidden, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.base.clock import now
from motorpool.loop.events import EventRecorder
from motorpool.manifests import apply, search
from tests.memory_client import MemoryClient

NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "n"}}


def directory(path: Path, *objects: Object, name: str = "kustomization.yaml", **says: Any) -> Path:
    path.mkdir(parents=True)
    for number, obj in enumerate(objects):
        (path / f"{number}.json").write_text(json.dumps(obj))
    says["resources"] = [f"{number}.json" for number in range(len(objects))]
    (path / name).write_text(json.dumps(says))
    return path


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def relative(paths: list[Path], root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in paths]


def test_directories_come_in_the_order_of_microshift(tmp_path: Path) -> None:
    for name in ("manifests", "manifests.d/b", "manifests.d/a", "manifests.d/a/deeper"):
        directory(tmp_path / name)
    directory(tmp_path / "manifests.d/0-late", name="kustomization.yml")
    for name in ("manifests/delete", "manifests.d/delete/y", "manifests.d/delete/x"):
        directory(tmp_path / name)
    (tmp_path / "manifests.d/empty").mkdir()
    entries = search.default_entries(tmp_path)

    assert relative(search.to_delete(entries), tmp_path) == [
        "manifests/delete", "manifests.d/delete/x", "manifests.d/delete/y",
    ]  # fmt: skip
    # One file name after the other: what is called .yml comes last, whatever its directory is.
    assert relative(search.to_apply(entries), tmp_path) == [
        "manifests", "manifests.d/a", "manifests.d/b", "manifests.d/0-late",
    ]  # fmt: skip


class Refusing(MemoryClient):
    """An API that refuses what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    async def apply(self, kind: Kind, obj: Object, *, manager: str) -> Object:
        assert manager == "kubectl"
        if obj["metadata"]["name"] in self.refused:
            raise Forbidden(f"{obj['metadata']['name']} is not wanted")
        applied: Object = await super().apply(kind, obj, manager=manager)
        return applied


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.client = Refusing()
        self.events = EventRecorder(self.client)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[apply.Manifests]:
        manifests = apply.Manifests(
            self.client, scheme.KINDS, self.events, now,
            entries=search.default_entries(self.root), node=NODE,
            record=self.root / "record.json",
        )  # fmt: skip
        tasks = [asyncio.create_task(self.events.run()), asyncio.create_task(manifests.run())]
        try:
            yield manifests
            await asyncio.wait_for(tasks[1], 30)
            await asyncio.sleep(0)
        finally:
            for task in tasks:
                task.cancel()

    async def run(self) -> list[dict[str, Any]]:
        async with self.running():
            pass
        rows: list[dict[str, Any]] = json.loads((self.root / "record.json").read_text())
        return rows

    def has(self, name: str, namespace: str = "default") -> bool:
        return any(
            kind == core.CONFIG_MAP and (key.namespace, key.name) == (namespace, name)
            for kind, key in self.client.objects
        )

    def told(self) -> list[str]:
        events = [o for (kind, _), o in self.client.objects.items() if kind == core.EVENT]
        return [f"{event['reason']}: {event['message']}" for event in events]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(apply, "RETRY_S", 0.05)
    monkeypatch.setattr(apply, "GIVE_UP_S", 0.2)
    monkeypatch.setattr(apply, "KIND_WAIT_S", 0.1)
    return World(tmp_path)


async def test_what_is_to_go_goes_before_what_is_to_come(world: World) -> None:
    await world.client.create(core.CONFIG_MAP, with_namespace(config_map("old")))
    directory(world.root / "manifests.d/delete/a", config_map("old"), config_map("never-there"))
    directory(world.root / "manifests", config_map("new"), namespace="apps")

    rows = await world.run()

    assert [(row["action"], row["state"], row["objects"]) for row in rows] == [
        ("delete", "done", 2), ("apply", "done", 1),
    ]  # fmt: skip
    assert world.has("new", "apps")
    assert not world.has("old")
    assert f"ManifestsApplied: Applied 1 objects of {world.root}/manifests" in world.told()


def with_namespace(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}


async def test_what_fails_is_tried_again_then_left_and_the_next_has_its_turn(world: World) -> None:
    world.client.refused = {"bad"}
    directory(world.root / "manifests.d/1", config_map("bad"), config_map("good"))
    directory(world.root / "manifests.d/2", config_map("next"))

    first, second = await world.run()

    assert (first["state"], second["state"]) == ("given up", "done")
    assert first["error"] == "ConfigMap bad: bad is not wanted"
    # One bad object does not keep the others of its directory back.
    assert world.has("good") and world.has("next")
    failed = [text for text in world.told() if text.startswith("ManifestsFailed")]
    assert len(failed) == 2
    assert any("tried again every" in text for text in failed)
    assert any("given up. Mend it" in text for text in failed)


async def test_what_is_mended_meanwhile_is_applied(world: World, monkeypatch) -> None:
    monkeypatch.setattr(apply, "GIVE_UP_S", 10)
    broken = directory(world.root / "manifests", config_map("a"))
    (broken / "kustomization.yaml").write_text("resources: [0.json, missing.yaml]")

    async with world.running() as manifests:
        while not any(each.state == "failing" for each in manifests.progress):
            await asyncio.sleep(0.01)
        assert "missing.yaml: No such file" in manifests.progress[0].error
        (broken / "kustomization.yaml").write_text("resources: [0.json]")

    assert manifests.progress[0].state == "done"
    assert manifests.progress[0].error == ""
    assert world.has("a")


async def test_a_kind_that_nobody_knows_is_named(world: World) -> None:
    car = {"apiVersion": "example.com/v1", "kind": "Car", "metadata": {"name": "c"}}
    directory(world.root / "manifests", car)

    (row,) = await world.run()

    assert 'no matches for kind "Car" in version "example.com/v1"; apply its Custom' in row["error"]


async def test_what_has_no_namespace_gets_none(world: World) -> None:
    wide = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ClusterServingRuntime",
            "metadata": {"name": "wide"}, "spec": {"containers": []}}  # fmt: skip
    directory(world.root / "manifests", wide, namespace="apps")

    await world.run()

    kept = next(o for (k, _), o in world.client.objects.items() if k.kind == wide["kind"])
    assert "namespace" not in kept["metadata"]
    with pytest.raises(NotFound):
        await world.client.get(core.CONFIG_MAP, "apps", "wide")
