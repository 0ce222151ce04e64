"""Azure Blob Storage as Azurite has it."""

import base64
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from motorpool.storage.errors import NothingFound, StorageError
from tests.storage.azurite import Container, azurite
from tests.storage.test_fetch import MODEL, files_in, get, initializer, plain, tar_of

pytestmark = pytest.mark.slow

WRONG = base64.b64encode(b"n" * 64).decode()
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with azurite() as endpoint:
        yield endpoint


@pytest.fixture
def container(endpoint: str) -> Container:
    made = Container(endpoint, f"container{next(NUMBERS)}")
    made.create()
    return made


def test_everything_below_a_path_comes_with_its_relative_paths(
    container: Container, tmp_path: Path
) -> None:
    container.put("models/resnet/1/model.bin", MODEL)
    container.put("models/resnet/1/größe #1.xml", b"<net/>")
    container.put("models/resnet50/other", b"no")
    env = {**container.env, "AZURE_MAX_FILE_CONCURRENCY": "2"}
    progress = get(f"{container.url}/models/resnet", tmp_path, env)
    assert files_in(tmp_path) == {"1/model.bin": MODEL, "1/größe #1.xml": b"<net/>"}
    assert progress.files == 2


def test_one_blob_comes_under_its_name_and_the_second_time_nothing_moves(
    container: Container, tmp_path: Path
) -> None:
    container.put("a/model.onnx", MODEL)
    get(f"{container.url}/a/model.onnx", tmp_path, container.env)
    before = (tmp_path / "model.onnx").stat().st_ino
    get(f"{container.url}/a/model.onnx", tmp_path, container.env)
    assert files_in(tmp_path) == {"model.onnx": MODEL}
    assert (tmp_path / "model.onnx").stat().st_ino == before


def test_an_archive_is_unpacked(container: Container, tmp_path: Path) -> None:
    container.put("m.tar.gz", tar_of(plain("1/a", MODEL)))
    get(f"{container.url}/m.tar.gz", tmp_path, container.env)
    assert files_in(tmp_path) == {"1/a": MODEL}


def test_the_empty_blob_of_a_directory_is_no_file(container: Container, tmp_path: Path) -> None:
    container.put("m/1", b"")
    container.put("m/1/model.bin", MODEL)
    container.put("m/empty", b"")
    get(f"{container.url}/m", tmp_path, container.env)
    assert files_in(tmp_path) == {"1/model.bin": MODEL, "empty": b""}


def test_a_signature_in_the_address_is_enough_for_a_directory_and_goes_before_a_key(
    container: Container, tmp_path: Path
) -> None:
    container.put("m/1/model.bin", MODEL)
    env = {**container.env, "AZURE_STORAGE_ACCESS_KEY": WRONG}
    get(f"{container.url}/m?{container.signature()}", tmp_path, env)
    assert files_in(tmp_path) == {"1/model.bin": MODEL}


def test_a_signature_of_the_environment_is_enough(container: Container, tmp_path: Path) -> None:
    container.put("m/a", b"x")
    env = {"AZURE_STORAGE_ENDPOINT": container.endpoint}
    get(f"{container.url}/m", tmp_path, {**env, "AZURE_STORAGE_SAS_TOKEN": container.signature()})
    assert files_in(tmp_path) == {"a": b"x"}


def test_a_wrong_signature_is_said_and_not_told(container: Container, tmp_path: Path) -> None:
    address = f"{container.url}/m?{container.signature(key=WRONG)}"
    with pytest.raises(StorageError, match="the store refuses these credentials") as raised:
        get(address, tmp_path, {"AZURE_STORAGE_ENDPOINT": container.endpoint})
    assert "sig=" not in str(raised.value)


def test_a_signature_that_may_only_list_is_said_at_once(
    container: Container, tmp_path: Path
) -> None:
    container.put("m/a", MODEL)
    address = f"{container.url}/m?{container.signature('l')}"
    with pytest.raises(StorageError, match="see that they may list and read container"):
        get(address, tmp_path, {"AZURE_STORAGE_ENDPOINT": container.endpoint})
    assert not (tmp_path / "a").exists()


def test_a_wrong_key_is_said_as_such(container: Container, tmp_path: Path) -> None:
    env = {**container.env, "AZURE_STORAGE_ACCESS_KEY": WRONG}
    with pytest.raises(StorageError, match=r"refuses these credentials \(Authorization\w+\)"):
        get(f"{container.url}/m", tmp_path, env)


def test_a_key_that_is_none_is_said_as_such(container: Container, tmp_path: Path) -> None:
    env = {**container.env, "AZURE_STORAGE_ACCESS_KEY": "not base64!"}
    with pytest.raises(StorageError, match="the credentials cannot be used"):
        get(f"{container.url}/m", tmp_path, env)


def test_a_private_container_needs_credentials_and_a_public_one_does_not(
    endpoint: str, container: Container, tmp_path: Path
) -> None:
    nobody = {"AZURE_STORAGE_ENDPOINT": endpoint}
    with pytest.raises(StorageError, match="attach a Secret"):
        get(f"{container.url}/m", tmp_path, nobody)
    public = Container(endpoint, "public")
    public.create(public=True)
    public.put("m/a", b"x")
    get(f"{public.url}/m", tmp_path, nobody)
    assert files_in(tmp_path) == {"a": b"x"}


def test_a_missing_container_and_an_empty_path_are_named(
    container: Container, tmp_path: Path
) -> None:
    with pytest.raises(NothingFound, match="nothing is there; correct the path"):
        get(f"{container.url}/none", tmp_path, container.env)
    missing = Container(container.endpoint, "missing")
    with pytest.raises(NothingFound, match="container missing does not exist: create it"):
        get(f"{missing.url}/m", tmp_path, missing.env)
    short = Container(container.endpoint, "c")
    with pytest.raises(StorageError, match=r"knows no such name as container c \(OutOfRange"):
        get(f"{short.url}/m", tmp_path, short.env)


def test_a_download_that_broke_off_goes_on_where_it_stopped(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motorpool.storage.errors import Interrupted
    from motorpool.storage.objects import ObjectOrigin

    container.put("m/model.bin", MODEL)
    read, offsets = ObjectOrigin.read, []

    def breaking(self, item, offset):
        offsets.append(offset)
        blocks = read(self, item, offset)
        if len(offsets) == 1:
            yield next(blocks)[:400_000]
            raise Interrupted("the connection broke")
        yield from blocks

    monkeypatch.setattr(ObjectOrigin, "read", breaking)
    get(f"{container.url}/m", tmp_path, container.env)
    assert offsets == [0, 400_000]
    assert files_in(tmp_path) == {"model.bin": MODEL}


def test_the_program_takes_the_variables_of_a_secret(container: Container, tmp_path: Path) -> None:
    container.put("m/model.bin", MODEL)
    done = initializer(f"{container.url}/m", str(tmp_path), env=container.env)
    assert done.returncode == 0, done.stderr
    assert files_in(tmp_path) == {"model.bin": MODEL}


def test_a_service_principal_without_a_token_is_told_what_to_correct(
    container: Container, tmp_path: Path
) -> None:
    env = {"AZURE_STORAGE_ENDPOINT": container.endpoint, "AZURE_CLIENT_ID": "a",
           "AZURE_CLIENT_SECRET": "b", "AZURE_TENANT_ID": "t",
           "AZURE_AUTHORITY_HOST": "http://127.0.0.1:1"}  # fmt: skip
    with pytest.raises(StorageError, match=r"these credentials give no token .*: correct the Se"):
        get(f"{container.url}/m", tmp_path, env)
