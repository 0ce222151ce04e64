"""The real kubectl with definitions and custom resources."""

import asyncio

import pytest
import yaml

from tests.apiserver.test_kubectl import manifest
from tests.apiserver.test_kubectl import pytestmark as pytestmark
from tests.definitions.objects import definition, schema_version, version, widget


@pytest.fixture
async def kubectl(defined, kubectl):
    """With the definition of widgets in two versions."""
    extra = schema_version({"size": {"type": "integer"}}, "v1alpha1")
    made = manifest(definition(version(), {**extra, "storage": False}))
    assert "widgets.ex.io created" in await kubectl("create -f -", made)
    waited = await kubectl("wait --for=condition=Established crd/widgets.ex.io --timeout=30s")
    assert waited.endswith("condition met\n")
    return kubectl


async def test_a_custom_resource_is_applied_once_and_is_unchanged_then(kubectl):
    text = manifest(widget(size=5))
    assert await kubectl("apply -f -", text) == "widget.ex.io/w created\n"
    assert await kubectl("apply -f -", text) == "widget.ex.io/w unchanged\n"
    changed = manifest(widget(size=6))
    assert await kubectl("apply -f -", changed) == "widget.ex.io/w configured\n"
    assert await kubectl("get wd w -o jsonpath={.spec}") == '{"mode":"a","size":6}'
    forced = "apply --server-side --force-conflicts -f -"
    assert await kubectl(forced, text) == "widget.ex.io/w serverside-applied\n"


async def test_an_unknown_field_is_named(kubectl):
    code, _, err = await kubectl.run("apply", "-f", "-", stdin=manifest(widget(bogus=1)))
    assert code == 1
    assert 'unknown field "spec.bogus"' in err


async def test_columns(kubectl):
    await kubectl("apply -f -", manifest(widget(size=5, any={"b": True})))
    status = '{"status":{"phase":"X","conditions":[{"type":"Ready","status":"True"}]}}'
    await kubectl(f"patch wd w --subresource=status --type=merge -p {status}")
    header, row = (await kubectl("get widgets")).splitlines()
    assert header.split() == ["NAME", "SIZE", "READY", "WHEN", "B", "AGE"]
    assert row.split()[:4] == ["w", "5", "True", "true"]
    header, row = (await kubectl("get widgets -o wide")).splitlines()
    assert header.split() == ["NAME", "SIZE", "PHASE", "READY", "WHEN", "B", "AGE"]
    assert row.split()[:3] == ["w", "5", "X"]
    assert "widget.ex.io/w" in await kubectl("get all -o name")
    assert await kubectl("get wd w -o jsonpath={.spec.size}") == "5"


async def test_scale_and_versions(kubectl):
    await kubectl("apply -f -", manifest(widget(size=5)))
    assert await kubectl("scale wd/w --replicas=2") == "widget.ex.io/w scaled\n"
    assert await kubectl("get wd w -o jsonpath={.spec.replicas}") == "2"
    shown = await kubectl("get widgets.v1alpha1.ex.io w -o jsonpath={.apiVersion}")
    assert shown == "ex.io/v1alpha1"
    listed = await kubectl("api-resources --api-group=ex.io --no-headers")
    assert listed.split() == ["widgets", "wd", "ex.io/v1", "true", "Widget"]


async def test_fields_are_explained(kubectl):
    told = await kubectl("explain widget.spec.size")
    assert "VERSION:    v1" in told
    assert "FIELD: size <integer>" in told
    assert "How large it is." in told
    assert "What the widget should be." in await kubectl("explain widgets")


async def test_a_strategic_patch_is_refused(kubectl):
    await kubectl("apply -f -", manifest(widget()))
    code, _, err = await kubectl.run("patch", "wd", "w", "--type=strategic", "-p", "{}")
    assert code == 1
    assert "application/json-patch+json, application/merge-patch+json" in err


async def test_a_deleted_definition_is_gone_when_kubectl_says_so(kubectl):
    await kubectl("apply -f -", manifest(widget()))
    told = await kubectl("delete crd widgets.ex.io")
    assert told == ('customresourcedefinition.apiextensions.k8s.io "widgets.ex.io" deleted\n')
    code, _, err = await kubectl.run("get", "widgets.v1.ex.io")
    assert code == 1
    assert "NotFound" in err


async def test_definitions_are_listed_described_and_explained(kubectl):
    header, row = (await kubectl("get crd widgets.ex.io")).splitlines()
    assert header.split() == ["NAME", "CREATED", "AT"]
    assert row.split()[0] == "widgets.ex.io"
    assert "InitialNamesAccepted" in await kubectl("describe crd widgets.ex.io")
    assert "FIELD: versions <[]CustomResourceDefinitionVersion>" in await kubectl(
        "explain crd.spec.versions"
    )


async def test_an_applied_definition_is_unchanged_the_second_time(kubectl):
    gadgets = yaml.safe_dump(definition(plural="gadgets", kind="Gadget", short="gd"))
    named = "customresourcedefinition.apiextensions.k8s.io/gadgets.ex.io"
    assert await kubectl("apply -f -", gadgets) == f"{named} created\n"
    assert await kubectl("apply -f -", gadgets) == f"{named} unchanged\n"


async def test_a_definition_and_its_object_in_a_row(kubectl):
    gadget = {**widget("g"), "kind": "Gadget"}
    gadgets = definition(plural="gadgets", kind="Gadget", short="gd")
    await kubectl("create -f -", manifest(gadgets))
    await kubectl("wait --for=condition=Established crd/gadgets.ex.io --timeout=30s")
    assert await kubectl("create -f -", manifest(gadget)) == "gadget.ex.io/g created\n"


async def test_a_watch_shows_a_custom_resource_come_and_go(kubectl):
    await kubectl("apply -f -", manifest(widget("first")))
    watching = await kubectl.start("get", "wd", "-w", "--no-headers")
    async with asyncio.timeout(30):
        assert (await watching.stdout.readline()).startswith(b"first")
        await kubectl("apply -f -", manifest(widget("second")))
        assert (await watching.stdout.readline()).startswith(b"second")
    watching.terminate()
    await watching.wait()
