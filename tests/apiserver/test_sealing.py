"""Secrets in the database: no plain text in any of its files, whatever the key."""

import base64

import pytest
from click.testing import CliRunner

from motorpool.api import core
from motorpool.api.errors import InternalError
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from motorpool.apiserver.sealing import Sealer, add_key
from motorpool.apiserver.shelf import Shelf
from motorpool.cli.main import main

PASSWORD = "correct-horse-battery-staple"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()


def secret(name="s"):
    metadata = {
        "name": name,
        "namespace": "default",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": PASSWORD},
    }
    return {"metadata": metadata, "stringData": {"password": PASSWORD}}


@pytest.fixture
def keys(tmp_path):
    file = tmp_path / "pki" / "secrets.key"
    Sealer.ensure(file)
    return file


async def client_of(store, sealer):
    registry = Registry(store, sealer=sealer)
    await registry.bootstrap()
    return LocalClient(registry)


def files_hold(directory, *texts):
    """Which of the texts stand in any file of the database, the write-ahead log included."""
    content = b"".join(file.read_bytes() for file in sorted(directory.glob("state.db*")))
    assert b"kube-system" in content
    return [text for text in texts if text.encode() in content]


async def test_no_file_of_the_database_holds_a_secret(store, keys, tmp_path):
    client = await client_of(store, Sealer.ensure(keys))
    await client.create(core.SECRET, secret())
    await client.patch(core.SECRET, "default", "s", {"data": {"other": ENCODED}})
    assert files_hold(tmp_path, PASSWORD, ENCODED) == []
    assert (tmp_path / "state.db-wal").exists()
    await client.delete(core.SECRET, "default", "s")
    assert files_hold(tmp_path, PASSWORD, ENCODED) == []
    assert keys.stat().st_mode & 0o777 == 0o600


async def test_a_sealed_secret_reads_as_it_was_written(store, keys):
    client = await client_of(store, Sealer.ensure(keys))
    created = await client.create(core.SECRET, secret())
    again = await client_of(store, Sealer.ensure(keys))  # with nothing in memory
    assert await again.get(core.SECRET, "default", "s") == created
    assert created["data"] == {"password": ENCODED}
    listed = await again.list(core.SECRET, labels="a!=b", fields="type=Opaque")
    assert [item["metadata"]["name"] for item in listed.items] == ["s"]


async def test_secrets_from_before_are_read_and_sealed_then(store, keys):
    plain = await client_of(store, None)
    await plain.create(core.SECRET, secret())
    shelf = Shelf(store, Sealer.ensure(keys))
    assert (await shelf.get(core.SECRET, "default", "s"))["data"] == {"password": ENCODED}
    assert await shelf.reseal() == 1
    row = await store.get("secrets/default/s")
    assert ENCODED.encode() not in row.value
    assert (await shelf.get(core.SECRET, "default", "s"))["data"] == {"password": ENCODED}
    assert await shelf.reseal() == 0


async def test_a_rotated_key_seals_at_once_and_then_everything(store, keys):
    sealer = Sealer.ensure(keys)
    client = await client_of(store, sealer)
    await client.create(core.SECRET, secret("old"))
    first = sealer.current
    new = add_key(keys).encode()
    await client.create(core.SECRET, secret("new"))
    assert first in (await store.get("secrets/default/old")).value
    assert new in (await store.get("secrets/default/new")).value
    shelf = Shelf(store, sealer)
    assert await shelf.reseal() == 1
    assert new in (await store.get("secrets/default/old")).value
    assert (await client.get(core.SECRET, "default", "old"))["data"] == {"password": ENCODED}


async def test_a_value_that_was_tampered_with_is_refused(store, keys):
    client = await client_of(store, Sealer.ensure(keys))
    await client.create(core.SECRET, secret("a"))
    value = (await store.get("secrets/default/a")).value
    await store.create("secrets/default/b", value)  # another's value
    with pytest.raises(InternalError, match="it was changed in the database"):
        await client.get(core.SECRET, "default", "b")


async def test_a_lost_key_is_named(store, keys, tmp_path):
    sealer = Sealer.ensure(keys)
    client = await client_of(store, sealer)
    await client.create(core.SECRET, secret())
    keys.unlink()
    other = await client_of(store, Sealer.ensure(keys))
    name = sealer.current.decode()
    with pytest.raises(InternalError, match=f"its key {name} is not in"):
        await other.get(core.SECRET, "default", "s")


async def test_an_object_too_large_is_refused_in_the_server_s_words(local_client):
    metadata = {"name": "big", "namespace": "default"}
    annotations = {f"a{number}": "x" * 200_000 for number in range(1)}
    data = {f"k{number}": "x" * 100_000 for number in range(10)}
    big = {"metadata": {**metadata, "annotations": annotations}, "data": data}
    await local_client.create(core.CONFIG_MAP, big)
    service = {"metadata": {**metadata}, "spec": {"externalName": "x" * 1_600_000}}
    event = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"namespace": "default"},
        "message": service["spec"]["externalName"],
    }
    with pytest.raises(Exception, match="etcdserver: request is too large"):
        await local_client.create(core.EVENT, event)


def test_the_command_adds_a_key(tmp_path, keys):
    arguments = ["secrets", "rotate-key", "--data-dir", str(tmp_path), "--output", "json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert keys.read_text().splitlines()[0].split()[0] in result.output
    assert len(keys.read_text().splitlines()) == 2
    missing = CliRunner().invoke(main, ["secrets", "rotate-key", "--data-dir", str(tmp_path / "x")])
    assert missing.exit_code == 1
