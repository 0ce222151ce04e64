import os
import socket
from pathlib import Path

import pytest

from motorpool.images import build as building
from motorpool.images.errors import ImageError
from motorpool.images.layer import plain_bytes
from motorpool.images.manifest import OCI_LAYER, digest_of
from motorpool.images.store import ImageStore, Tree, parse

NAME = parse("ovms-resnet50:test")


def tree_of(store: ImageStore) -> Tree:
    return store.ensure_now(NAME, "Never")


def test_files_lie_under_models_read_only(store: ImageStore, model: Path) -> None:
    (model / "1" / "run.sh").write_text("#!/bin/sh")
    (model / "1" / "run.sh").chmod(0o700)
    (model / "1" / "latest").symlink_to("model.xml")

    store.build(model, NAME)
    models = tree_of(store).path / "models"

    assert (models / "1" / "model.bin").read_bytes() == (model / "1" / "model.bin").read_bytes()
    assert (models / "1" / "latest").read_text() == "<net/>"
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (models / "1").iterdir()}
    assert modes == {"model.xml": 0o444, "model.bin": 0o444, "latest": 0o444, "run.sh": 0o555}
    assert models.stat().st_mode & 0o7777 == 0o555


def test_the_digest_depends_on_names_contents_and_executability_alone(
    tmp_path: Path, model: Path
) -> None:
    again = tmp_path / "elsewhere" / "copy"
    (again / "1").mkdir(parents=True, mode=0o700)
    for name in ("model.bin", "model.xml"):  # the other order
        (again / "1" / name).write_bytes((model / "1" / name).read_bytes())
        (again / "1" / name).chmod(0o600)
        os.utime(again / "1" / name, (1, 1))

    first = ImageStore(tmp_path / "a").build(model, NAME)
    second = ImageStore(tmp_path / "b").build(again, parse("other:1"))

    assert first == second


def test_the_digest_is_the_same_from_release_to_release(store: ImageStore, tmp_path: Path) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    (directory / "a").write_text("a")

    store.build(directory, NAME)

    layers = store.inspect(NAME)["layers"]
    assert isinstance(layers, list)
    # Changing this invalidates what every user has pushed: layers would no longer be shared.
    assert layers[0]["digest"] == (
        "sha256:450b354b2ff2f592b782a86d06c59ebcc907a25da99245447670ddf8b486cd7d"
    )


def test_source_date_epoch_is_honoured(
    store: ImageStore, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.build(model, NAME)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")

    assert store.build(model, NAME) != before

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ImageError, match="SOURCE_DATE_EPOCH"):
        store.build(model, NAME)


def test_a_directory_that_is_laid_out_as_the_image_is_taken_as_it_is(
    store: ImageStore, tmp_path: Path
) -> None:
    (tmp_path / "image" / "models" / "1").mkdir(parents=True)
    (tmp_path / "image" / "models" / "1" / "a").write_text("a")

    store.build(tmp_path / "image", NAME)

    assert (tree_of(store).path / "models" / "1" / "a").read_text() == "a"


def test_large_files_have_a_layer_each_and_share_it_with_the_next_version(
    store: ImageStore, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "LARGE_FILE_BYTES", 70_000)
    store.build(model, NAME)
    first = store.inspect(NAME)["layers"]
    (model / "1" / "model.xml").write_text("<net version='2'/>")
    store.build(model, parse("next:1"))
    second = store.inspect(parse("next:1"))["layers"]

    assert isinstance(first, list)
    assert isinstance(second, list)
    assert len(first) == len(second) == 2
    assert first[0] != second[0]
    assert first[1] == second[1]
    assert len(list(store.content.layers.iterdir())) == 3


def test_there_are_never_more_layers_than_overlay_filesystems_take(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "LARGE_FILE_BYTES", 10)
    for number in range(100):
        (model / "1" / f"part-{number:03}").write_text("x" * 20)

    layers = building.plan_layers(building.find_sources(model))

    assert len(layers) == building.LAYERS_MAX
    assert sum(len(layer) for layer in layers) == 100 + 4


def test_what_is_kept_of_a_layer_is_still_the_whole_tar(store: ImageStore, model: Path) -> None:
    (model / "1" / "empty").touch()
    store.build(model, NAME)

    (layer,) = store.content.manifest(store.content.references()[str(NAME)]).layers
    raw = b"".join(plain_bytes(store.content.layer_path(layer)))

    assert digest_of(raw) == layer.digest
    assert (len(raw), layer.media_type) == (layer.size, OCI_LAYER)


def test_a_link_out_of_the_directory_is_refused(store: ImageStore, model: Path) -> None:
    for target in ("/etc/passwd", "../../outside"):
        (model / "1" / "link").symlink_to(target)
        with pytest.raises(ImageError, match=r"1/link' is a symbolic link.*leaves"):
            store.build(model, NAME)
        (model / "1" / "link").unlink()
    assert store.images() == []


def test_a_socket_a_fifo_and_a_device_are_refused(store: ImageStore, tmp_path: Path) -> None:
    directory = tmp_path / "s"
    directory.mkdir()
    os.mkfifo(directory / "pipe")
    with pytest.raises(ImageError, match="pipe' is a socket, a fifo or a device"):
        store.build(directory, NAME)
    (directory / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "s"))
        with pytest.raises(ImageError, match="s' is a socket"):
            store.build(directory, NAME)


def test_an_empty_or_missing_directory_is_refused(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "empty" / "1").mkdir(parents=True)
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="holds no files"):
        store.build(tmp_path / "empty", NAME)
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(ImageError, match="is not a directory"):
            store.build(path, NAME)


def test_what_cannot_be_read_is_refused_by_its_name(
    store: ImageStore, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = building.find_sources(model)
    monkeypatch.setattr(building, "find_sources", lambda _: found)
    (model / "1" / "model.bin").unlink()  # gone, or root could read it

    with pytest.raises(ImageError, match=r"cannot pack '.*model\.bin': No such file"):
        store.build(model, NAME)

    assert list(store.content.ingest.iterdir()) == []
    assert store.images() == []


def test_a_file_that_shrinks_while_it_is_packed_is_refused(
    store: ImageStore, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = building.find_sources(model)
    monkeypatch.setattr(building, "find_sources", lambda _: found)
    (model / "1" / "model.bin").write_bytes(b"short")

    with pytest.raises(ImageError, match="changed while it was packed"):
        store.build(model, NAME)


def test_a_digest_cannot_be_chosen(store: ImageStore, model: Path) -> None:
    with pytest.raises(ImageError, match="give a tag"):
        store.build(model, parse("localhost/a@sha256:" + "0" * 64))
