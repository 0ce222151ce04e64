"""Images that podman has built are found without a registry, as the guides build theirs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from motorpool.images.errors import ImageError
from motorpool.images.reference import parse
from motorpool.images.store import ImageStore
from tests.podman.boxes import own_storage, podman

pytestmark = pytest.mark.slow

NAME = "localhost/guest-model:test"


@pytest.fixture(scope="module")
def _storage() -> Iterator[None]:
    with own_storage():
        yield


@pytest.fixture
def containerfile(_storage: None, model: Path, tmp_path: Path) -> Path:
    """Of a ModelCar, as the guide writes it: a model below /models."""
    text = f"FROM scratch\nCOPY {model.name} /models\n"
    (tmp_path / "Containerfile").write_text(text)
    return tmp_path


def build(directory: Path) -> None:
    podman("build", "-q", "-t", NAME, str(directory))


@pytest.mark.parametrize("policy", ["IfNotPresent", "Never"])
async def test_what_podman_has_built_is_here(
    store: ImageStore, containerfile: Path, policy: str
) -> None:
    build(containerfile)

    tree = await store.ensure(NAME, policy)  # type: ignore[arg-type]

    assert (tree.path / "models" / "1" / "model.xml").read_text() == "<net/>"
    assert [image.reference for image in store.images()] == [NAME]


async def test_what_podman_has_built_again_under_the_same_name_is_taken_again(
    store: ImageStore, containerfile: Path, model: Path
) -> None:
    build(containerfile)
    first = await store.ensure(NAME, "IfNotPresent")
    assert await store.ensure(NAME, "IfNotPresent") == first
    (model / "1" / "model.xml").write_text("<better/>")
    build(containerfile)

    second = await store.ensure(NAME, "IfNotPresent")

    assert (second.path / "models" / "1" / "model.xml").read_text() == "<better/>"


async def test_it_stays_when_podman_has_lost_it(store: ImageStore, containerfile: Path) -> None:
    build(containerfile)
    first = await store.ensure(NAME, "IfNotPresent")
    podman("rmi", "-f", NAME)

    assert await store.ensure(NAME, "IfNotPresent") == first


async def test_an_image_that_was_built_here_under_the_name_goes_before_podmans(
    store: ImageStore, containerfile: Path, model: Path
) -> None:
    build(containerfile)
    await store.ensure(NAME, "IfNotPresent")
    (model / "1" / "model.xml").write_text("<ours/>")
    digest = store.build(model, parse(NAME))

    assert (await store.ensure(NAME, "IfNotPresent")).digest == digest


async def test_without_podman_the_way_to_build_it_is_named(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("motorpool.images.registry.TRIES_MAX", 1)

    with pytest.raises(ImageError, match=r"not on this machine; build it: `motorpool modelcar"):
        await store.ensure("localhost/nobody-has-it:test", "IfNotPresent")


async def test_an_image_of_another_digest_is_not_to_be_built_but_named(store: ImageStore) -> None:
    with pytest.raises(ImageError, match=r"not on this machine; `motorpool modelcar ls` tells"):
        await store.ensure(f"localhost/model@sha256:{'0' * 64}", "IfNotPresent")
