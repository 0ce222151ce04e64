"""Volumes as directories."""

import base64
from pathlib import Path
from typing import Any

import pytest

from motorpool.api.meta import Object
from motorpool.base import clock
from motorpool.images.store import ImageStore
from motorpool.node.command import ConfigError
from motorpool.node.contents import PodFacts
from motorpool.node.tokens import Tokens
from motorpool.node.volumefiles import write_files
from motorpool.node.volumes import Volume, VolumeError, Volumes, mounts_of
from tests.memory_client import MemoryClient


def obj(kind: str, name: str, **fields: Any) -> Object:
    metadata = {"name": name, "namespace": "ns"}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


OBJECTS = (
    obj("ConfigMap", "c", data={"a": "1", "b": "2"}, binaryData={"x": "AAE="}),
    obj("Secret", "s", data={"token": base64.b64encode(b"t0ken").decode()}),
)


async def prepare(tmp_path: Path, **volume: Any) -> Volume:
    pod = obj("Pod", "p", spec={"containers": [], "volumes": [{"name": "v", **volume}]})
    pod["metadata"] |= {"uid": "u", "labels": {"app": "x"}}
    facts = PodFacts(pod, "127.64.0.1", "127.0.0.1", {"cpu": "2"})
    client = MemoryClient(*OBJECTS)
    images, tokens = ImageStore(tmp_path / "images"), Tokens(client, clock.now)
    volumes = Volumes(client, images, facts, tmp_path / "pods" / "u", tokens)
    return (await volumes.prepare(lambda *_: None))["v"]


def content(volume: Volume) -> dict[str, bytes]:
    data = (volume.path / "..data").resolve()
    files = (path for path in data.rglob("*") if path.is_file())
    return {str(path.relative_to(data)): path.read_bytes() for path in files}


async def test_config_maps_and_secrets_are_files(tmp_path: Path) -> None:
    found = await prepare(tmp_path, configMap={"name": "c"})
    assert content(found) == {"a": b"1", "b": b"2", "x": b"\x00\x01"}
    items = [{"key": "a", "path": "deep/er/a.txt"}]
    found = await prepare(tmp_path, configMap={"name": "c", "items": items})
    assert content(found) == {"deep/er/a.txt": b"1"}
    found = await prepare(tmp_path / "2", secret={"secretName": "s", "defaultMode": 0o400})
    assert content(found) == {"token": b"t0ken"}
    assert (found.path / "token").stat().st_mode & 0o777 == 0o400


async def test_an_item_may_have_a_mode_of_its_own(tmp_path: Path) -> None:
    items = [{"key": "a", "path": "a", "mode": 0o600}, {"key": "b", "path": "b"}]
    projected = {"sources": [{"configMap": {"name": "c", "items": items}}], "defaultMode": 0o440}
    found = await prepare(tmp_path, projected=projected)
    modes = [(found.path / name).stat().st_mode & 0o777 for name in "ab"]
    assert modes == [0o600, 0o440]


@pytest.mark.parametrize(
    ("kind", "there", "fits"),
    [
        ("", "", True), ("", "file", True), ("Directory", "", False), ("Directory", "dir", True),
        ("DirectoryOrCreate", "", True), ("File", "dir", False), ("File", "file", True),
        ("FileOrCreate", "", True), ("DirectoryOrCreate", "file", False),
        ("Socket", "file", False), ("CharDevice", "file", False), ("BlockDevice", "dir", False),
    ],
)  # fmt: skip
async def test_a_host_path_is_what_its_type_says(
    tmp_path: Path, kind: str, there: str, fits: bool
) -> None:
    path = tmp_path / "there"
    if there == "dir":
        path.mkdir()
    elif there == "file":
        path.touch()
    source = {"path": str(path), "type": kind}
    if not fits:
        with pytest.raises((VolumeError, FileExistsError)):
            await prepare(tmp_path, hostPath=source)
        return
    found = await prepare(tmp_path, hostPath=source)
    assert found.path == path
    assert path.is_file() == (kind.startswith("File") or there == "file")
    mount = {"name": "v", "mountPath": "/m"}
    (mounted,) = mounts_of({"name": "c", "volumeMounts": [mount]}, {"v": found}, {})
    assert mounted.directory == str(path)


def test_the_device_and_socket_types_are_what_they_say(tmp_path: Path) -> None:
    from motorpool.node.volumes import _host_path

    assert _host_path("v", {"path": "/dev/null", "type": "CharDevice"}).path == Path("/dev/null")
    with pytest.raises(VolumeError, match="/dev/null is not a Socket"):
        _host_path("v", {"path": "/dev/null", "type": "Socket"})


async def test_projected_and_downward_files(tmp_path: Path) -> None:
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    cpus = {"path": "cpus", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}
    sources = [
        {"secret": {"name": "s"}},
        {"configMap": {"name": "c", "items": [{"key": "b", "path": "b"}]}},
        {"downwardAPI": {"items": [labels, cpus]}},
    ]
    found = await prepare(tmp_path, projected={"sources": sources})
    assert content(found) == {"token": b"t0ken", "b": b"2", "labels": b'app="x"', "cpus": b"2"}


@pytest.mark.parametrize(
    ("volume", "reason", "message"),
    [
        ({"configMap": {"name": "no"}}, "FailedMount", 'configmap "no" not found'),
        ({"configMap": {"name": "c", "items": [{"key": "z", "path": "z"}]}}, "FailedMount",
         "references non-existent config key: z"),
        ({"configMap": {"name": "c", "items": [{"key": "a", "path": "../a"}]}}, "FailedMount",
         "leaves the volume"),
        ({"hostPath": {"path": "/no/such", "type": "Directory"}}, "FailedMount", "/no/such"),
        ({"nfs": {"server": "x"}}, "CreateContainerConfigError", "type nfs is not supported"),
        ({"projected": {"sources": [{"clusterTrustBundle": {"path": "t"}}]}},
         "FailedMount", "a projected clusterTrustBundle is not supported"),
        ({"image": {"reference": "localhost/none:1", "pullPolicy": "Never"}}, "ErrImageNeverPull",
         "localhost/none:1"),
    ],
)  # fmt: skip
async def test_what_cannot_be_had_has_a_reason(
    tmp_path: Path, volume: Object, reason: str, message: str
) -> None:
    with pytest.raises(VolumeError) as caught:
        await prepare(tmp_path, **volume)
    assert caught.value.reason == reason
    assert message in str(caught.value)


async def test_optional_sources_may_be_missing(tmp_path: Path) -> None:
    assert content(await prepare(tmp_path, configMap={"name": "no", "optional": True})) == {}


def shown(directory: Path) -> dict[str, bytes]:
    """What programs see that do not look behind dots."""
    files = (path for path in directory.iterdir() if not path.name.startswith(".."))
    return {path.name: path.read_bytes() for path in files}


def test_files_are_exactly_those_given_and_change_in_one_step(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    assert write_files(volume, {"a": b"1", "b": b"2"}, 0o644)
    before = (volume / "..data").resolve()
    assert shown(volume) == {"a": b"1", "b": b"2"}
    assert (volume / "a").readlink() == Path("..data/a")
    assert write_files(volume, {"b": b"3", "deep/er": b"4"}, 0o600)
    assert (volume / "b").read_bytes() == b"3"
    assert (volume / "deep" / "er").read_bytes() == b"4"
    assert not before.exists()
    assert {path.name for path in volume.iterdir() if path.name[:2] != ".."} == {"b", "deep"}
    assert len(list(volume.iterdir())) == 4


def test_the_same_files_again_change_nothing(tmp_path: Path) -> None:
    write_files(tmp_path / "v", {"a": b"1"}, 0o644)
    before = (tmp_path / "v" / "..data").resolve()
    assert not write_files(tmp_path / "v", {"a": b"1"}, 0o644)
    assert (tmp_path / "v" / "..data").resolve() == before
    assert write_files(tmp_path / "v", {"a": b"1"}, 0o600)


def test_files_of_an_older_layout_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "v" / "d").mkdir(parents=True)
    (tmp_path / "v" / "a").write_text("old")
    (tmp_path / "v" / "d" / "x").write_text("old")
    assert write_files(tmp_path / "v", {"a": b"1"}, 0o644)
    assert shown(tmp_path / "v") == {"a": b"1"}


def mount(**fields: Any) -> Object:
    return {"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/m", **fields}]}


def test_mounts_follow_sub_paths_inside_the_volume(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    tree = {"v": Volume(tmp_path, writable=False)}
    (found,) = mounts_of(mount(subPath="models"), tree, {})
    assert (found.path, found.directory) == ("/m", str(tmp_path / "models"))
    (found,) = mounts_of(mount(subPathExpr="$(KIND)"), tree, {"KIND": "models"})
    assert found.directory == str(tmp_path / "models")
    with pytest.raises(ConfigError, match='the volume holds no "weights"'):
        mounts_of(mount(subPath="weights"), tree, {})
    with pytest.raises(ConfigError, match="leaves volume"):
        mounts_of(mount(subPath="../x"), tree, {})
    with pytest.raises(ConfigError, match="not a volume of the pod"):
        mounts_of(mount(), {}, {})
    (found,) = mounts_of(mount(subPath="new/dir"), {"v": Volume(tmp_path)}, {})
    assert Path(found.directory).is_dir()


def claimed(phase: str = "Bound", **spec: Any) -> tuple[Object, Object]:
    claim = obj("PersistentVolumeClaim", "data", spec={"volumeName": "disk"})
    return claim | {"status": {"phase": phase}}, {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"}, "spec": spec,
    }  # fmt: skip


async def prepare_claim(tmp_path: Path, *objects: Object, **source: Any) -> Volume:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data", **source}}
    pod = obj("Pod", "p", spec={"containers": [], "volumes": [volume]})
    pod["metadata"]["uid"] = "u"
    facts = PodFacts(pod, "127.64.0.1", "127.0.0.1", {"cpu": "2"})
    store = ImageStore(tmp_path / "images")
    client = MemoryClient(*objects)
    tokens = Tokens(client, clock.now)
    volumes = Volumes(client, store, facts, tmp_path / "pods" / "u", tokens)
    return (await volumes.prepare(lambda *_: None))["v"]


async def test_a_claim_is_the_directory_of_its_volume(tmp_path: Path) -> None:
    path = {"path": str(tmp_path / "disk"), "type": "DirectoryOrCreate"}
    found = await prepare_claim(tmp_path, *claimed(hostPath=path))
    assert (found.path, found.writable) == (tmp_path / "disk", True)
    assert found.path.is_dir()
    assert not (await prepare_claim(tmp_path, *claimed(hostPath=path), readOnly=True)).writable


async def test_a_claim_without_a_volume_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match='"data" is not bound to a volume yet'):
        await prepare_claim(tmp_path, *claimed("Pending"))
    with pytest.raises(VolumeError, match="not found"):
        await prepare_claim(tmp_path)
    with pytest.raises(VolumeError, match="not a directory of this machine"):
        await prepare_claim(tmp_path, *claimed(nfs={"server": "s", "path": "/"}))
