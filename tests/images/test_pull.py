"""Pulling from a registry that lies, breaks off, or wants a password."""

import base64
import gzip
import json
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from motorpool.images.cancellation import Cancellation
from motorpool.images.errors import Cancelled, ImageError
from motorpool.images.layer import Limits
from motorpool.images.manifest import OCI_INDEX, OCI_LAYER, digest_of
from motorpool.images.pull import architecture
from motorpool.images.registry import BACKOFF, Registry
from motorpool.images.store import ImageStore, parse
from tests.images.small_registry import (
    GZIP,
    SmallRegistry,
    descriptor,
    small_registry,
    special,
    tar,
)

pytestmark = pytest.mark.slow

BIG = bytes(range(256)) * 16384  # 4 MiB


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motorpool.images.registry.BACKOFF", type(BACKOFF)(0.001, 0.01))


def pull(store: ImageStore, small: SmallRegistry, version: str = "1") -> Path:
    return store.pull(parse(f"{small.host}/me/model:{version}")).path


def making_of(store: ImageStore, layer: bytes) -> Path:
    return store.content.ingest / f"layer-{digest_of(layer).removeprefix('sha256:')}"


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def left_behind(store: ImageStore) -> list[str]:
    kept = ("layers", "trees", "ingest", "blobs/sha256")
    return [str(path) for name in kept for path in (store.content.root / name).iterdir()]


def refused(store: ImageStore, small: SmallRegistry, *, why: str) -> None:
    """The pull fails for *why*, and it is as if it had never been."""
    with pytest.raises(ImageError, match=why) as error:
        pull(store, small)
    assert error.value.reason == "ErrImagePull"
    assert left_behind(store) == []
    assert store.images() == []


@pytest.mark.parametrize("packed", ["plain", "gzip", "zstd"])
def test_a_layer_is_unpacked_however_it_was_packed(
    store: ImageStore, small: SmallRegistry, packed: str
) -> None:
    layer = tar(("models/1/m", BIG))
    if packed == "gzip":
        small.add("1", gzip.compress(layer), media_type=GZIP)
    elif packed == "zstd":
        raw = zstandard.compress(layer)
        small.add("1", raw, media_type=OCI_LAYER)
        small.add_manifest(
            "1",
            {
                "schemaVersion": 2,
                "config": descriptor("x", b"{}"),
                "layers": [descriptor(f"{OCI_LAYER}+zstd", raw)],
            },
        )
        small.blobs[digest_of(b"{}")] = b"{}"
    else:
        small.add("1", layer)

    assert (pull(store, small) / "models" / "1" / "m").read_bytes() == BIG


def test_a_gzip_of_several_members_is_one_tar(store: ImageStore, small: SmallRegistry) -> None:
    layer = tar(("models/m", BIG))
    raw = gzip.compress(layer[:1000]) + gzip.compress(layer[1000:])
    small.add("1", raw, media_type=GZIP)

    assert (pull(store, small) / "models" / "m").read_bytes() == BIG


def test_dockers_own_manifest_and_a_list_of_platforms_are_understood(
    store: ImageStore, small: SmallRegistry
) -> None:
    docker = "application/vnd.docker"
    layer, config = gzip.compress(tar(("models/m", b"x"))), b"{}"
    small.blobs |= {digest_of(layer): layer, digest_of(config): config}
    digest = small.add_manifest(
        "amd64",
        {
            "schemaVersion": 2,
            "mediaType": f"{docker}.distribution.manifest.v2+json",
            "config": descriptor(f"{docker}.container.image.v1+json", config),
            "layers": [descriptor(f"{docker}.image.rootfs.diff.tar.gzip", layer)],
        },
    )
    size = len(small.manifests[digest][1])
    offered = [("plan9", "mips"), ("linux", architecture())]
    small.add_manifest(
        "1",
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    "mediaType": "x",
                    "digest": digest,
                    "size": size,
                    "platform": {"os": system, "architecture": machine},
                }
                for system, machine in offered
            ],
        },
    )

    assert (pull(store, small) / "models" / "m").read_bytes() == b"x"


def test_an_index_without_this_machine_names_what_it_has(
    store: ImageStore, small: SmallRegistry
) -> None:
    platform = {"os": "plan9", "architecture": "mips"}
    item = {**descriptor("x", b""), "platform": platform}
    small.add_manifest("1", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [item]})

    refused(store, small, why=r"has no linux/.*only plan9/mips")


# Bytes that are not what they should be.


def test_a_changed_byte_is_refused(store: ImageStore, small: SmallRegistry) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    small.blobs[digest_of(layer)] = layer[:5000] + b"!" + layer[5001:]

    refused(store, small, why="was changed on its way")


def test_garbage_in_place_of_a_layer_is_a_wrong_digest_not_a_broken_tar(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    small.blobs[digest_of(layer)] = b"g" * len(layer)

    refused(store, small, why="was changed on its way")


def test_more_bytes_than_promised_are_refused(store: ImageStore, small: SmallRegistry) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    small.blobs[digest_of(layer)] = layer + b"more"

    refused(store, small, why="where .* bytes were promised")


def test_a_registry_that_has_less_than_promised_is_given_up(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    small.blobs[digest_of(layer)] = layer[:5000]

    with pytest.raises(ImageError, match="cannot be reached"):
        pull(store, small)


def test_a_changed_configuration_is_refused(store: ImageStore, small: SmallRegistry) -> None:
    small.add("1", tar(("models/m", b"x")))
    config = json.loads(small.manifests["1"][1])["config"]
    small.blobs[config["digest"]] = b"?" * config["size"]

    refused(store, small, why="was changed on its way")


def test_a_manifest_that_is_not_its_digest_is_refused(
    store: ImageStore, small: SmallRegistry
) -> None:
    digest = small.add("1", tar(("models/m", b"x")))
    small.manifests[digest] = (small.manifests[digest][0], small.manifests[digest][1] + b" ")

    with pytest.raises(ImageError, match="and not sha256:"):
        store.pull(parse(f"{small.host}/me/model@{digest}"))


def test_a_layer_that_unpacks_to_something_else_is_refused(
    store: ImageStore, small: SmallRegistry
) -> None:
    small.add("1", gzip.compress(tar(("models/m", b"x"))), media_type=GZIP)
    config = json.dumps({"rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}).encode()
    small.blobs[digest_of(config)] = config
    manifest = json.loads(small.manifests["1"][1])
    small.add_manifest("1", {**manifest, "config": descriptor("x", config)})

    refused(store, small, why="configuration says sha256:0000")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"not json", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"schemaVersion": 1}', "schemaVersion 1"),
        (b'{"schemaVersion": 2, "config": {}, "layers": {}}', "must be a list"),
        (b'{"schemaVersion": 2, "config": {"digest": "md5:1"}, "layers": []}', "'md5:1'"),
        (b"x" * (5 << 20), "larger than"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(
    store: ImageStore, small: SmallRegistry, raw: bytes, why: str
) -> None:
    small.manifests["1"] = ("", raw)

    refused(store, small, why=why)


def test_an_unknown_kind_of_layer_is_named(store: ImageStore, small: SmallRegistry) -> None:
    small.add("1", tar(("models/m", b"x")), media_type="application/x-rar")

    refused(store, small, why="media type 'application/x-rar'")


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (tar(("models/ok", b"x"), ("../../../tmp/evil", b"x")), r"leaves the image through '\.\.'"),
        (tar(("/tmp/evil", b"x")), "absolute path"),
        (tar(("models/a", b"x"), special("models/l", tarfile.SYMTYPE, "/etc")), "leaves the image"),
        (tar(special("models/null", tarfile.CHRTYPE)), "character device"),
        (tar(("models/a", b"x")) [:600], "ends in the middle"),
        (b"no tar at all" * 100, "is not a tar archive"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [OCI_LAYER, GZIP])
def test_what_is_refused_leaves_nothing_behind(
    store: ImageStore, small: SmallRegistry, layer: bytes, why: str, packed: str
) -> None:
    good = tar(("models/other", BIG))
    if packed == GZIP:
        small.add("1", gzip.compress(good), gzip.compress(layer), media_type=GZIP)
    else:
        small.add("1", good, layer)

    refused(store, small, why=why)


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, small: SmallRegistry) -> None:
    limits = Limits(expansion_max=50, expansion_floor_bytes=1 << 16)
    store = ImageStore(tmp_path / "images", limits=limits)
    small.add("1", gzip.compress(tar(("models/zeros", bytes(32 << 20)))), media_type=GZIP)

    refused(store, small, why="50 times")


@pytest.mark.parametrize("cut", [5, 100])
def test_a_gzip_that_is_cut_off_is_refused(
    store: ImageStore, small: SmallRegistry, cut: int
) -> None:
    whole = gzip.compress(tar(("models/m", BIG)))
    small.add("1", tar(("models/m", BIG)))
    config = json.loads(small.manifests["1"][1])["config"]
    raw = whole[:-cut]
    small.blobs[digest_of(raw)] = raw
    small.add_manifest(
        "1", {"schemaVersion": 2, "config": config, "layers": [descriptor(GZIP, raw)]}
    )

    refused(store, small, why="ends|cut off")


# Faults that pass.


@pytest.mark.parametrize("ignores_range", [False, True])
def test_a_broken_connection_goes_on_where_it_stopped(
    store: ImageStore, small: SmallRegistry, *, ignores_range: bool
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    small.break_off[digest_of(layer)] = [3_000_000, 500_000]
    small.ignores_range = ignores_range
    if ignores_range:
        small.break_off[digest_of(layer)] = [3_000_000]

    assert (pull(store, small) / "models" / "m").read_bytes() == BIG

    resumed = small.asked(digest_of(layer))[1]
    assert resumed.endswith("bytes=3000000-")


def test_a_busy_registry_is_asked_again(store: ImageStore, small: SmallRegistry) -> None:
    layer = tar(("models/m", b"x"))
    small.add("1", layer)
    small.unavailable[digest_of(layer)] = 3

    assert (pull(store, small) / "models" / "m").read_bytes() == b"x"


def test_a_registry_that_stays_busy_is_given_up(store: ImageStore, small: SmallRegistry) -> None:
    layer = tar(("models/m", b"x"))
    small.add("1", layer)
    small.unavailable[digest_of(layer)] = 100

    with pytest.raises(ImageError, match="it answered 503; check that it runs"):
        pull(store, small)

    assert small.unavailable[digest_of(layer)] == 95


def test_what_is_not_there_says_how_to_go_on(store: ImageStore, small: SmallRegistry) -> None:
    refused(store, small, why="has no .*/me/model:1 .*check name and tag, or push it first")


def test_a_registry_that_is_not_there_is_named(store: ImageStore) -> None:
    with pytest.raises(ImageError, match=r"registry 127\.0\.0\.1:1 cannot be reached"):
        store.pull(parse("127.0.0.1:1/me/model:1"))


def test_plain_http_goes_to_this_machine_only() -> None:
    registry = Registry(parse("registry.invalid/me/model:1"), Cancellation(), {})
    try:
        assert registry._url("x").startswith("https://")
        registry._scheme = "http"
        with pytest.raises(ImageError, match="without TLS"):
            registry.manifest("1")
    finally:
        registry.close()


# Passwords.


def log_in(path: Path, key: str, password: str) -> None:
    auth = base64.b64encode(f"me:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {key: {"auth": auth}}}))


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
@pytest.mark.parametrize("key", ["{host}", "https://{host}/v2/", "{host}/me"])
def test_credentials_of_podman_login_are_used(
    store: ImageStore, small: SmallRegistry, tmp_path: Path, scheme: str, key: str
) -> None:
    small.add("1", tar(("models/m", b"x")))
    small.password, small.scheme = "secret", scheme
    log_in(tmp_path / "no-auth.json", key.format(host=small.host), "secret")

    assert (pull(store, small) / "models" / "m").read_bytes() == b"x"


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
@pytest.mark.parametrize("password", ["wrong", None])
def test_without_the_right_ones_it_says_how_to_log_in(
    store: ImageStore, small: SmallRegistry, tmp_path: Path, scheme: str, password: str | None
) -> None:
    small.add("1", tar(("models/m", b"x")))
    small.password, small.scheme = "secret", scheme
    if password:
        log_in(tmp_path / "no-auth.json", small.host, password)

    with pytest.raises(ImageError, match="podman login") as error:
        pull(store, small)

    assert "secret" not in str(error.value)


def test_credentials_are_not_read_before_they_are_asked_for(
    store: ImageStore, small: SmallRegistry, tmp_path: Path
) -> None:
    (tmp_path / "no-auth.json").write_text("this is no JSON")
    small.add("1", tar(("models/m", b"x")))
    assert pull(store, small).exists()

    small.password = "secret"
    with pytest.raises(ImageError, match="is not a file of credentials"):
        pull(store, small)


def test_credentials_do_not_follow_a_redirect_to_another_host(
    store: ImageStore, small: SmallRegistry, tmp_path: Path
) -> None:
    layer = tar(("models/m", b"x"))
    small.add("1", layer)
    small.password = "secret"
    log_in(tmp_path / "no-auth.json", small.host, "secret")
    with small_registry() as storage:
        storage.blobs[digest_of(layer)] = layer
        small.redirects[digest_of(layer)] = f"http://{storage.host}/{digest_of(layer)}"

        assert (pull(store, small) / "models" / "m").read_bytes() == b"x"

    assert "Bearer the-token" in small.authorizations
    assert storage.authorizations == {None}


def test_a_redirect_to_plain_http_elsewhere_is_refused(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", b"x"))
    small.add("1", layer)
    small.redirects[digest_of(layer)] = "http://registry.invalid/blob"

    refused(store, small, why="'registry.invalid' would be reached without TLS")


# Going away.


def test_a_pull_that_is_cancelled_stops_at_once_and_the_next_goes_on_behind_it(
    store: ImageStore, small: SmallRegistry
) -> None:
    layer = tar(("models/m", BIG))
    small.add("1", layer)
    gate = small.gates[digest_of(layer)] = threading.Event()  # never opened while this waits
    cancelled = Cancellation()
    written = making_of(store, layer) / "files" / "0"

    def stop_half_way() -> None:
        wait_until(lambda: written.exists() and written.stat().st_size >= 1 << 20)
        cancelled.set()

    stopper = threading.Thread(target=stop_half_way)
    stopper.start()
    with pytest.raises(Cancelled):
        store.pull(parse(f"{small.host}/me/model:1"), None, cancelled)
    stopper.join()
    assert not gate.is_set()
    assert store.images() == []
    del small.gates[digest_of(layer)]
    gate.set()

    assert (pull(store, small) / "models" / "m").read_bytes() == BIG
    assert "bytes=" in small.asked(digest_of(layer))[-1]
    assert list(store.content.ingest.iterdir()) == []


@pytest.mark.parametrize("packed", [OCI_LAYER, GZIP])
def test_what_a_killed_pull_left_is_used_unless_it_is_damaged(
    store: ImageStore, small: SmallRegistry, packed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As over a slow line: compressed bytes are kept from the first megabyte on.
    monkeypatch.setattr("motorpool.images.pull.SPOOL_PROBE_BYTES", 1 << 20)
    monkeypatch.setattr("motorpool.images.pull.SPOOL_BYTES_PER_S_MAX", 1e15)
    layer = tar(("models/m", BIG))
    layer = gzip.compress(layer, 0) if packed == GZIP else layer
    small.add("1", layer, media_type=packed)
    small.break_off[digest_of(layer)] = [2_500_000, 0, 0, 0, 0, 0]
    with pytest.raises(ImageError, match="cannot be reached"):
        pull(store, small)
    making = making_of(store, layer)
    left = making / "files" / "0" if packed == OCI_LAYER else making / "blob"
    left.chmod(0o644)
    with left.open("r+b") as file:
        file.seek(1000)
        file.write(b"damaged")
    small.break_off.clear()

    assert (pull(store, small) / "models" / "m").read_bytes() == BIG
    assert "bytes=" in small.asked(digest_of(layer))[-2]
    assert "bytes=" not in small.asked(digest_of(layer))[-1]
    assert list(store.content.ingest.iterdir()) == []
