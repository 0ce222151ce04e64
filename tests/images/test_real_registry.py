"""Against Debian's docker-registry, with skopeo and podman as judges."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from motorpool.images import build as building
from motorpool.images.errors import ImageError
from motorpool.images.manifest import digest_of
from motorpool.images.store import ImageStore, parse
from tests.programs import program
from tests.registry import RunningRegistry, running_registry

pytestmark = pytest.mark.slow


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def several_layers(monkeypatch: pytest.MonkeyPatch, model: Path) -> Path:
    monkeypatch.setattr(building, "LARGE_FILE_BYTES", 1 << 20)
    for name in ("a", "b", "c"):
        (model / "1" / name).write_bytes(name.encode() * (3 << 20))
    (model / "1" / "link").symlink_to("a")
    return model


def test_what_is_pushed_is_what_another_machine_pulls(
    tmp_path: Path, registry: RunningRegistry, several_layers: Path
) -> None:
    name = parse(f"{registry.host}/team/model:1")
    here, there = ImageStore(tmp_path / "here"), ImageStore(tmp_path / "there")

    built = here.build(several_layers, name)
    assert here.push(name) == built
    tree = there.pull(name)

    assert tree.digest == built
    assert len(there.content.manifest(built).layers) == 4
    for path in several_layers.rglob("*"):
        found = tree.path / "models" / path.relative_to(several_layers)
        assert path.is_dir() or found.read_bytes() == path.read_bytes()


def test_a_second_push_sends_nothing_and_another_repository_mounts(
    store: ImageStore, registry: RunningRegistry, several_layers: Path
) -> None:
    first, second = (parse(f"{registry.host}/mount/{name}:1") for name in ("one", "two"))
    store.build(several_layers, first)
    store.push(first)
    store.build(several_layers, second)
    sent: list[int] = []

    store.push(first, lambda now: sent.append(now.done_bytes))
    store.push(second)

    repositories = registry.storage / "docker" / "registry" / "v2" / "repositories" / "mount"
    links = [sorted(p.name for p in (repositories / name / "_layers" / "sha256").iterdir())
             for name in ("one", "two")]  # fmt: skip
    assert links[0] == links[1]


def test_skopeo_reads_and_copies_what_is_built(
    store: ImageStore, registry: RunningRegistry, several_layers: Path, tmp_path: Path
) -> None:
    skopeo = program("skopeo")
    name = parse(f"{registry.host}/skopeo/model:1")
    built = store.build(several_layers, name)
    store.push(name)

    shown = json.loads(run(skopeo, "inspect", "--tls-verify=false", f"docker://{name}"))
    run(skopeo, "copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/copy")

    assert shown["Digest"] == built
    assert (shown["Os"], len(shown["Layers"])) == ("linux", 4)
    assert digest_of((tmp_path / "copy" / "manifest.json").read_bytes()) == built


@pytest.mark.parametrize(
    ("packing", "dialect"), [("gzip", "oci"), ("zstd", "oci"), ("gzip", "v2s2")]
)
def test_what_skopeo_has_recompressed_is_unpacked_and_pushed_again(
    tmp_path: Path, registry: RunningRegistry, several_layers: Path, packing: str, dialect: str
) -> None:
    skopeo = program("skopeo")
    (tmp_path / "second").mkdir()
    (tmp_path / "third").mkdir()
    store, other = ImageStore(tmp_path / "a"), ImageStore(tmp_path / "b")
    plain = parse(f"{registry.host}/plain/model:{packing}-{dialect}")
    store.build(several_layers, plain)
    store.push(plain)
    with running_registry(tmp_path / "second") as second:
        packed = parse(f"{second.host}/packed/model:1")
        run(
            skopeo, "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
            "--format", dialect, "--dest-compress-format", packing,
            f"docker://{plain}", f"docker://{packed}",
        )  # fmt: skip
        tree = other.pull(packed)

    layers = other.content.manifest(tree.digest).layers
    assert {layer.compression for layer in layers} == {packing}
    assert (tree.path / "models" / "1" / "link").read_bytes()[:1] == b"a"
    # A registry that lost it gets it back as plain layers: the same image ID, another digest.
    with running_registry(tmp_path / "third") as empty:
        moved = parse(f"{empty.host}/moved/model:1")
        other.content.name(str(moved), tree.digest)
        assert other.push(moved) != tree.digest
        again = ImageStore(tmp_path / "c")
        back = again.pull(moved)
        assert again.inspect(moved)["imageID"] == other.inspect(packed)["imageID"]
        assert (back.path / "models" / "1" / "c").stat().st_size == 3 << 20


def test_podman_takes_what_is_built_and_what_podman_builds_is_taken(
    store: ImageStore, registry: RunningRegistry, several_layers: Path, tmp_path: Path
) -> None:
    podman = program("podman")
    short = Path(tempfile.mkdtemp(dir="/tmp"))  # podman wants less than 50 characters
    base = [podman, "--root", short / "root", "--runroot", short / "run",
            "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]  # fmt: skip
    name = parse(f"{registry.host}/podman/model:1")
    store.build(several_layers, name)
    store.push(name)
    (tmp_path / "no-auth.json").write_text("{}")
    theirs = parse(f"{registry.host}/podman/theirs:1")
    (several_layers / "Containerfile").write_text("FROM scratch\nCOPY 1 /models/1\n")
    try:
        run(*base, "pull", "-q", "--tls-verify=false", str(name))
        image = json.loads(run(*base, "inspect", str(name)))[0]
        run(*base, "build", "-q", "-t", str(theirs), several_layers)
        run(*base, "push", "-q", "--tls-verify=false", str(theirs))
    finally:
        subprocess.run([*map(str, base), "rmi", "-af"], capture_output=True, check=False)
        shutil.rmtree(short)

    assert "sha256:" + image["Id"] == store.inspect(name)["imageID"]
    tree = store.pull(theirs)
    assert (tree.path / "models" / "1" / "model.xml").read_text() == "<net/>"


def test_a_registry_with_passwords_takes_those_of_a_login(
    store: ImageStore, model: Path, tmp_path: Path
) -> None:
    skopeo, htpasswd = program("skopeo"), program("htpasswd")
    (tmp_path / "htpasswd").write_text(run(htpasswd, "-nbB", "me", "secret"))
    auth = {"htpasswd": {"realm": "tests", "path": str(tmp_path / "htpasswd")}}
    with running_registry(tmp_path, auth) as closed:
        name = parse(f"{closed.host}/me/model:1")
        store.build(model, name)
        with pytest.raises(ImageError, match="podman login"):
            store.push(name)

        file = str(tmp_path / "no-auth.json")  # what $REGISTRY_AUTH_FILE says
        run(skopeo, "login", "--tls-verify=false", "--authfile", file, "-u", "me", "-p", "secret",
            closed.host)  # fmt: skip
        digest = store.push(name)

        assert ImageStore(tmp_path / "other").pull(name).digest == digest


def test_tls_is_verified_on_this_machine_too(
    store: ImageStore, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = program("openssl")
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    run(
        openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1", "-days", "1",
        "-addext", "subjectAltName=IP:127.0.0.1",
    )  # fmt: skip
    monkeypatch.setattr("motorpool.images.registry.TRIES_MAX", 1)
    with running_registry(tmp_path, tls={"certificate": certificate, "key": key}) as secure:
        name = parse(f"{secure.host}/me/model:1")
        store.build(model, name)
        with pytest.raises(ImageError, match="CERTIFICATE_VERIFY_FAILED"):
            store.push(name)

        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        digest = store.push(name)

        assert ImageStore(tmp_path / "other").pull(name).digest == digest
