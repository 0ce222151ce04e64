"""What the golden cases apply is what a real API server takes, and a second time writes nothing."""

import random

import pytest
import yaml

from motorpool.api import core, schema
from motorpool.api.kubernetestypes import of as schema_of
from motorpool.api.meta import copy_of
from motorpool.api.scheme import by_kind
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from motorpool.base.clock import now
from motorpool.controllers.inferenceservice.names import FIELD_MANAGER
from motorpool.store import Store
from tests.controllers.inferenceservice.objects import NAMESPACE
from tests.controllers.inferenceservice.test_golden import CASES, named

pytestmark = pytest.mark.slow

RELEASE = "1.32"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def applied(path):
    text = path.with_name(f"{named(path)}.out.yaml").read_text()
    return [obj for obj in yaml.load_all(text, Loader=LOADER) if obj and "kind" in obj]


def built_in(objects):
    found = [(by_kind(obj["apiVersion"], obj["kind"]), obj) for obj in objects]
    return [(kind, obj) for kind, obj in found if kind is not None and not kind.is_custom]


def test_only_fields_that_kubernetes_knows_are_applied():
    for path in CASES:
        for kind, obj in built_in(applied(path)):
            assert schema.unknown_fields(obj, schema_of(kind)) == [], path.name


def test_what_is_applied_fits_the_published_schemas():
    """With the package that the table of built-in kinds is written from, where it is installed."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    seen = {}
    for path in CASES:
        for kind, obj in built_in(applied(path)):
            # Cases differ in few fields: the same object need not be looked at twice.
            content = {key: value for key, value in obj.items() if key != "metadata"}
            seen.setdefault((kind, yaml.dump(content)), (path.name, obj))
    for name, obj in seen.values():
        try:
            kubernetes_validate.validate(obj, RELEASE, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise AssertionError(f"{name}: {error.path}: {error.message}") from error


@pytest.fixture
async def client(tmp_path):
    store = Store.open(tmp_path / "state.db")
    registry = Registry(store, clock=now, source=random.Random(1))
    await registry.bootstrap()
    client = LocalClient(registry)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await client.create(core.NAMESPACE, namespace)
    yield client
    await store.close()


async def test_applying_a_case_again_writes_nothing(client):
    for path in CASES:
        objects = [(by_kind(o["apiVersion"], o["kind"]), o) for o in applied(path)]
        served = [(kind, obj) for kind, obj in objects if kind is not None]
        first = [await client.apply(k, copy_of(o), manager=FIELD_MANAGER) for k, o in served]
        again = [await client.apply(k, copy_of(o), manager=FIELD_MANAGER) for k, o in served]
        versions = [[o["metadata"]["resourceVersion"] for o in pair] for pair in (first, again)]
        assert versions[0] == versions[1], path.name
        for kind, obj in served:
            await client.delete(kind, NAMESPACE, obj["metadata"]["name"])
