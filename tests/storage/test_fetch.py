"""What is fetched from real servers: whole, verified, and again without a byte."""

import hashlib
import io
import json
import os
import ssl
import stat
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from motorpool.apiserver.certificates import ensure_certificates
from motorpool.base.clock import now
from motorpool.storage.errors import NothingFound, StorageError
from motorpool.storage.fetch import fetch
from motorpool.storage.locations import parse
from motorpool.storage.objects import ObjectOrigin
from motorpool.storage.transfer import Progress, digest_of, download
from tests.storage.servers import s3_server

pytestmark = pytest.mark.slow

MODEL = bytes(range(256)) * 4096  # 1 MiB


def get(uri: str, to: Path, env: dict[str, str] | None = None, **options) -> Progress:
    progress = Progress()
    fetch(uri, to, env or {}, progress, **options)
    return progress


def files_in(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes()
        for p in sorted(directory.rglob("*")) if p.is_file()
    }  # fmt: skip


def tar_of(*entries: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info, content in entries:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


# The web


def test_a_file_keeps_its_name_and_bytes(web, tmp_path):
    web.files["/m/model.onnx"] = MODEL
    progress = get(f"{web.url}/m/model.onnx?token=1", tmp_path)
    assert files_in(tmp_path) == {"model.onnx": MODEL}
    assert (progress.files, progress.done_bytes, progress.total_bytes) == (
        1,
        len(MODEL),
        len(MODEL),
    )


def test_what_is_there_is_not_fetched_again(web, tmp_path):
    web.files["/model.onnx"] = MODEL
    get(f"{web.url}/model.onnx", tmp_path)
    web.asked.clear()
    get(f"{web.url}/model.onnx", tmp_path)
    assert web.asked == [("/model.onnx", "bytes=0-0")]


def test_a_broken_connection_goes_on_where_it_stopped(web, tmp_path):
    web.files["/model.onnx"] = MODEL
    web.cut_after, web.cuts = 300_000, 3
    get(f"{web.url}/model.onnx", tmp_path)
    assert files_in(tmp_path) == {"model.onnx": MODEL}
    assert [asked for _, asked in web.asked] == [
        "bytes=0-0", "", "bytes=300000-", "bytes=600000-", "bytes=900000-",
    ]  # fmt: skip


def test_a_download_that_never_completes_says_so_and_leaves_no_model(web, tmp_path, monkeypatch):
    monkeypatch.setattr("motorpool.storage.transfer.RETRY", _Impatient())
    web.files["/model.onnx"] = MODEL
    web.ranges, web.cut_after, web.cuts = False, 1000, -1
    with pytest.raises(StorageError, match=r"6 times in a row: see whether its server answers"):
        get(f"{web.url}/model.onnx", tmp_path)
    assert not (tmp_path / "model.onnx").exists()


class _Impatient:
    def delay_s(self, failures: int) -> float:
        return 0.001


def test_a_second_attempt_resumes_what_the_first_left(web, tmp_path, monkeypatch):
    monkeypatch.setattr("motorpool.storage.transfer.RETRY", _Impatient())
    monkeypatch.setattr("motorpool.storage.transfer.ATTEMPTS_MAX", 1)
    web.files["/model.onnx"] = MODEL
    web.cut_after, web.cuts = 400_000, 1
    with pytest.raises(StorageError, match="goes on where this one stopped"):
        get(f"{web.url}/model.onnx", tmp_path)
    web.asked.clear()
    get(f"{web.url}/model.onnx", tmp_path)
    assert web.asked == [("/model.onnx", "bytes=0-0"), ("/model.onnx", "bytes=400000-")]
    assert files_in(tmp_path) == {"model.onnx": MODEL}


def test_a_new_version_does_not_continue_an_old_part(web, tmp_path, monkeypatch):
    monkeypatch.setattr("motorpool.storage.transfer.ATTEMPTS_MAX", 1)
    web.files["/model.onnx"] = MODEL
    web.cut_after, web.cuts = 400_000, 1
    with pytest.raises(StorageError):
        get(f"{web.url}/model.onnx", tmp_path)
    web.files["/model.onnx"] = MODEL[::-1]
    get(f"{web.url}/model.onnx", tmp_path)
    assert files_in(tmp_path) == {"model.onnx": MODEL[::-1]}


def test_a_server_that_is_busy_for_a_moment_is_asked_again(web, tmp_path):
    web.files["/model.onnx"] = MODEL
    web.failures = 2
    get(f"{web.url}/model.onnx", tmp_path)
    assert files_in(tmp_path) == {"model.onnx": MODEL}


def test_a_wrong_checksum_is_no_model(web, tmp_path):
    web.files["/model.onnx"] = MODEL
    wrong = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
    web.headers["/model.onnx"] = {"repr-digest": wrong}
    with pytest.raises(StorageError, match="altered or damaged on its way"):
        get(f"{web.url}/model.onnx", tmp_path)
    assert files_in(tmp_path) == {}


def test_nothing_at_the_address_is_said_with_its_code(web, tmp_path):
    with pytest.raises(NothingFound, match=r"nothing there \(HTTP 404\); correct the address"):
        get(f"{web.url}/model.onnx", tmp_path)


def test_headers_of_a_secret_are_sent_and_stay_with_their_host(web, tmp_path):
    web.token = "Bearer t"
    web.files["/model.onnx"] = MODEL
    env = {"127.0.0.1-headers": json.dumps({"authorization": "Bearer t"})}
    get(f"{web.url}/model.onnx", tmp_path, env)
    assert files_in(tmp_path) == {"model.onnx": MODEL}
    with pytest.raises(StorageError, match=r"refuses access \(HTTP 401\): give request headers"):
        get(f"{web.url}/model.onnx", tmp_path / "other")


def test_credentials_do_not_follow_to_another_host(web, tmp_path):
    elsewhere = web.url.replace("127.0.0.1", "localhost")
    web.redirects["/model.onnx"] = f"{elsewhere}/there.onnx"
    web.files["/there.onnx"] = MODEL
    env = {"127.0.0.1-headers": json.dumps({"authorization": "Bearer t"})}
    get(f"{web.url}/model.onnx", tmp_path, env)
    seen = [a for (path, _), a in zip(web.asked, web.authorizations, strict=True)
            if path == "/there.onnx"]  # fmt: skip
    assert seen
    assert not any(seen)


def test_a_sign_in_page_is_no_model(web, tmp_path):
    web.files["/model"] = b"<html>sign in</html>"
    web.types["/model"] = "text/html; charset=utf-8"
    with pytest.raises(StorageError, match="answers with a web page, not with a model"):
        get(f"{web.url}/model", tmp_path)


def test_nobody_listens_there(tmp_path):
    with pytest.raises(StorageError, match="reachable from here"):
        get("http://127.0.0.1:1/model.onnx", tmp_path)


# Archives


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_and_removed(web, tmp_path, mode):
    ending = {"w": ".tar"}.get(mode, f".tar.{mode[2:]}")
    web.files[f"/m{ending}"] = tar_of(plain("1/model.bin", MODEL), plain("./1/a.xml"), mode=mode)
    get(f"{web.url}/m{ending}", tmp_path)
    assert files_in(tmp_path) == {"1/a.xml": b"x", "1/model.bin": MODEL}


def test_a_zip_without_a_telling_name_is_known_by_its_type(web, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1/model.bin", MODEL)
    web.files["/download"] = buffer.getvalue()
    web.types["/download"] = "application/zip"
    get(f"{web.url}/download", tmp_path)
    assert files_in(tmp_path) == {"1/model.bin": MODEL}


def test_links_inside_stay_links(web, tmp_path):
    web.files["/m.tgz"] = tar_of(
        plain("blobs/1"), link("model.bin", "blobs/1"), link("hard", "blobs/1", tarfile.LNKTYPE)
    )
    get(f"{web.url}/m.tgz", tmp_path)
    assert (tmp_path / "model.bin").is_symlink()
    assert files_in(tmp_path) == {"blobs/1": b"x", "hard": b"x", "model.bin": b"x"}


@pytest.mark.parametrize(
    "entries",
    [
        [plain("../out")],
        [plain("/etc/out")],
        [plain("a/../../out")],
        [link("a", "/etc/passwd")],
        [link("a", "../../out")],
        [link("d", ".."), plain("d/out")],
        [link("a", "b/.."), link("b", "c/../.."), plain("c/x")],
        [link("hard", "../../out", tarfile.LNKTYPE)],
        [link("s", "/etc/passwd"), link("h", "s", tarfile.LNKTYPE)],
    ],
    ids=[
        "up",
        "root",
        "through",
        "link to root",
        "link up",
        "under a link",
        "chain",
        "hard",
        "both",
    ],
)
def test_nothing_lands_outside_of_the_directory(web, tmp_path, entries):
    web.files["/m.tar.gz"] = tar_of(*entries)
    target = tmp_path / "deep" / "models"
    with pytest.raises(StorageError):
        get(f"{web.url}/m.tar.gz", target)
    assert [p for p in tmp_path.rglob("*") if p.name in ("out", "a", "h")] == []
    assert files_in(target) == {}


def test_a_device_in_an_archive_is_refused(web, tmp_path):
    web.files["/m.tar.gz"] = tar_of(link("null", "", tarfile.CHRTYPE))
    with pytest.raises(StorageError, match="neither file, directory nor link"):
        get(f"{web.url}/m.tar.gz", tmp_path)


def test_a_bomb_stops_at_its_bound(web, tmp_path, monkeypatch):
    monkeypatch.setattr("motorpool.storage.archives.ALWAYS_ALLOWED", 1 << 20)
    web.files["/m.tar.gz"] = tar_of(plain("zeros", bytes(64 << 20)))
    with pytest.raises(StorageError, match="unpacks to more than"):
        get(f"{web.url}/m.tar.gz", tmp_path)
    assert files_in(tmp_path) == {}


def test_a_damaged_archive_says_so(web, tmp_path):
    web.files["/m.tar.gz"] = tar_of(plain("a", os.urandom(9000)))[:4000]
    with pytest.raises(StorageError, match="no sound archive"):
        get(f"{web.url}/m.tar.gz", tmp_path)
    assert files_in(tmp_path) == {}


# The disk


def test_a_model_that_will_not_fit_is_refused_before_its_first_byte(web, tmp_path):
    web.files["/model.onnx"] = MODEL
    with pytest.raises(StorageError, match=r"needs 1.0 MB more in .* which has 500.0 kB free"):
        get(f"{web.url}/model.onnx", tmp_path, free_bytes=lambda _: 500_000)
    assert web.asked == [("/model.onnx", "bytes=0-0")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_disk_that_fills_up_is_said_with_what_to_do(web, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be made here")
    try:
        web.files["/model.onnx"] = MODEL
        with pytest.raises(StorageError, match="make room there"):
            get(f"{web.url}/model.onnx", disk)
        with pytest.raises(StorageError, match=r"no space left for model.onnx .*: make room there"):
            get(f"{web.url}/model.onnx", disk, free_bytes=lambda _: 1 << 40)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Paths


def test_a_directory_is_copied_and_not_linked(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "1").mkdir(parents=True)
    (source / "1" / "model.bin").write_bytes(MODEL)
    get(f"file://{source}", target)
    get(str(source), target)
    assert files_in(target) == {"1/model.bin": MODEL}
    assert stat.S_ISREG((target / "1" / "model.bin").lstat().st_mode)


def test_a_path_onto_itself_is_nothing_to_do(tmp_path):
    get(str(tmp_path), tmp_path)
    assert files_in(tmp_path) == {}


def test_a_path_that_is_not_here_says_so(tmp_path):
    with pytest.raises(NothingFound, match="there is no such path here"):
        get("/no/such/model", tmp_path)


# The hub


def hub(web, files: dict[str, bytes], name: str = "owner/model", sha: str = "c0ffee") -> dict:
    entries = []
    for path, content in files.items():
        entry = {"rfilename": path, "size": len(content)}
        if len(content) > 1000:
            entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        else:
            blob = f"blob {len(content)}\0".encode() + content
            entry["blobId"] = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
        entries.append(entry)
        web.files[f"/{name}/resolve/{sha}/{path}"] = content
    page = {"sha": sha, "lastModified": "2025-01-01T00:00:00.000Z", "siblings": entries}
    web.files[f"/api/models/{name}/revision/main"] = json.dumps(page).encode()
    return {"HF_ENDPOINT": web.url}


def test_a_hubs_model_comes_whole_and_verified(web, tmp_path):
    env = hub(web, {"config.json": b"{}", "onnx/model.onnx": MODEL})
    get("hf://owner/model", tmp_path, env)
    assert files_in(tmp_path) == {"config.json": b"{}", "onnx/model.onnx": MODEL}
    web.asked.clear()
    get("hf://owner/model", tmp_path, env)
    assert [path for path, _ in web.asked] == ["/api/models/owner/model/revision/main"]


def test_a_hubs_file_that_broke_off_goes_on_where_it_stopped(web, tmp_path):
    env = hub(web, {"model.safetensors": MODEL})
    path = "/owner/model/resolve/c0ffee/model.safetensors"
    page = "/api/models/owner/model/revision/main"
    web.cut_after, web.cuts = 400_000, 2  # the list of files is shorter and comes whole
    get("hf://owner/model", tmp_path, env)
    assert files_in(tmp_path) == {"model.safetensors": MODEL}
    assert web.asked == [(page, ""), (path, ""), (path, "bytes=400000-")]


def test_a_hubs_names_are_escaped_in_its_addresses(web, tmp_path):
    env = hub(web, {"a%20b #1?.json": b"{}"})
    web.files["/owner/model/resolve/c0ffee/a%2520b%20%231%3F.json"] = b"{}"
    page = web.files["/api/models/owner/model/revision/main"]
    web.files["/api/models/owner/model/revision/refs%2Fpr%2F1"] = page
    get("hf://owner/model:refs/pr/1", tmp_path, env)
    assert files_in(tmp_path) == {"a%20b #1?.json": b"{}"}


def test_an_altered_file_of_a_hub_is_no_model(web, tmp_path):
    env = hub(web, {"config.json": b"{}"})
    web.files["/owner/model/resolve/c0ffee/config.json"] = b"[]"
    with pytest.raises(StorageError, match="git digest"):
        get("hf://owner/model", tmp_path, env)


def test_a_gated_model_needs_a_token(web, tmp_path):
    env = hub(web, {"config.json": b"{}"})
    web.token = "Bearer hf_x"
    with pytest.raises(StorageError, match="attach a Secret with HF_TOKEN"):
        get("hf://owner/model", tmp_path, env)
    get("hf://owner/model", tmp_path, {**env, "HF_TOKEN": "hf_x"})
    assert files_in(tmp_path) == {"config.json": b"{}"}


def test_only_the_wanted_files_of_a_hub_come(web, tmp_path):
    env = hub(web, {"config.json": b"{}", "pytorch.bin": MODEL})
    get("hf://owner/model", tmp_path, {**env, "STORAGE_IGNORE_PATTERNS": "*.bin"})
    assert files_in(tmp_path) == {"config.json": b"{}"}


def test_a_name_of_a_hub_cannot_leave_the_directory(web, tmp_path):
    env = hub(web, {"../out": b"{}"})
    with pytest.raises(StorageError, match="leaves the model's directory"):
        get("hf://owner/model", tmp_path / "models", env)


def test_an_unknown_model_of_a_hub_is_said(web, tmp_path):
    with pytest.raises(NothingFound, match="has no owner/model at revision main"):
        get("hf://owner/model", tmp_path, {"HF_ENDPOINT": web.url})


# Digests


def test_gits_digest_is_gits(tmp_path):
    (tmp_path / "a").write_bytes(b"hello\n")
    assert digest_of(tmp_path / "a", "git") == "ce013625030ba8dba906f756967f9e9ca394464a"


# S3


def with_other_tags(uri, directory, env):
    """As Amazon's S3 has them, where moto keeps to the MD5 whatever encrypts an object."""
    origin = ObjectOrigin(parse(uri), env)
    items = [replace(item, digest=("md5", "0" * 32)) for item in origin.items(lambda _: True)]
    download(items, origin, directory, workers=1, progress=Progress())


@pytest.mark.slow
class TestS3:
    def test_everything_below_a_path_comes_with_its_relative_paths(self, bucket, s3_env, tmp_path):
        bucket.put("models/resnet/1/model.bin", MODEL)
        bucket.put("models/resnet/1/model.xml", b"<net/>")
        bucket.put("models/resnet50/other", b"no")
        progress = get(f"s3://{bucket.name}/models/resnet", tmp_path, s3_env)
        assert files_in(tmp_path) == {"1/model.bin": MODEL, "1/model.xml": b"<net/>"}
        assert progress.files == 2

    def test_one_object_comes_under_its_name(self, bucket, s3_env, tmp_path):
        bucket.put("a/model.onnx", MODEL)
        get(f"s3://{bucket.name}/a/model.onnx", tmp_path, s3_env)
        assert files_in(tmp_path) == {"model.onnx": MODEL}

    def test_the_second_time_nothing_moves(self, bucket, s3_env, tmp_path):
        bucket.put("m/a.bin", MODEL)
        get(f"s3://{bucket.name}/m", tmp_path, s3_env)
        before = (tmp_path / "a.bin").stat().st_ino
        get(f"s3://{bucket.name}/m", tmp_path, s3_env)
        assert (tmp_path / "a.bin").stat().st_ino == before

    def test_the_tag_of_an_object_that_kms_encrypts_is_no_checksum(self, bucket, s3_env, tmp_path):
        bucket.put("m/a.bin", MODEL, {"x-amz-server-side-encryption": "aws:kms"})
        with_other_tags(f"s3://{bucket.name}/m", tmp_path, s3_env)
        assert files_in(tmp_path) == {"a.bin": MODEL}

    def test_the_tag_of_a_plain_object_is_one(self, bucket, s3_env, tmp_path):
        bucket.put("m/a.bin", MODEL)
        with pytest.raises(StorageError, match="altered or damaged on its way"):
            with_other_tags(f"s3://{bucket.name}/m", tmp_path, s3_env)
        assert files_in(tmp_path) == {}

    def test_a_storage_config_entry_is_enough(self, bucket, s3_env, tmp_path):
        bucket.put("m/a.bin", MODEL)
        entry = {"type": "s3", "access_key_id": "k", "secret_access_key": "s",
                 "endpoint_url": s3_env["AWS_ENDPOINT_URL"], "region": "us-east-1"}  # fmt: skip
        get(f"s3://{bucket.name}/m", tmp_path, {"STORAGE_CONFIG": json.dumps(entry)})
        assert files_in(tmp_path) == {"a.bin": MODEL}

    def test_an_archive_in_a_bucket_is_unpacked(self, bucket, s3_env, tmp_path):
        bucket.put("m.tar.gz", tar_of(plain("1/a", MODEL)))
        get(f"s3://{bucket.name}/m.tar.gz", tmp_path, s3_env)
        assert files_in(tmp_path) == {"1/a": MODEL}

    def test_an_empty_path_says_that_nothing_is_there(self, bucket, s3_env, tmp_path):
        with pytest.raises(NothingFound, match="nothing is there; correct the path"):
            get(f"s3://{bucket.name}/none", tmp_path, s3_env)

    def test_a_missing_bucket_is_named(self, s3_env, tmp_path):
        with pytest.raises(NothingFound, match="bucket nosuchbucket does not exist"):
            get("s3://nosuchbucket/m", tmp_path, s3_env)

    def test_nobody_answers_at_the_endpoint(self, tmp_path):
        env = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
               "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}  # fmt: skip
        with pytest.raises(StorageError, match="correct the endpoint, or try again"):
            get("s3://b/m", tmp_path, env)


@pytest.mark.slow
def test_a_store_with_a_certificate_of_its_own_is_trusted_with_its_bundle(tmp_path):
    pki = ensure_certificates(tmp_path / "pki", now=now())
    with s3_server(str(pki.certificate), str(pki.key)) as endpoint:
        with httpx.Client(verify=ssl.create_default_context(cafile=str(pki.ca))) as client:
            client.put(f"{endpoint}/models").raise_for_status()
            client.put(f"{endpoint}/models/a/m.bin", content=MODEL).raise_for_status()
        env = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": endpoint}
        refused = initializer("s3://models/a", str(tmp_path / "no"), env=env)
        trusted = {**env, "AWS_CA_BUNDLE": str(pki.ca)}
        done = initializer("s3://models/a", str(tmp_path / "yes"), env=trusted)
    assert "give its CA bundle" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert files_in(tmp_path / "yes") == {"m.bin": MODEL}


def initializer(*pairs: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "motorpool", "storage-initializer", *pairs]
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": source, **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_a_wrong_key_is_said_as_such(web, tmp_path):
    """moto checks no keys: this server answers as S3 does to a wrong one."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"<Error><Code>InvalidAccessKeyId</Code><Message>no</Message></Error>"
            self.send_response(403)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            return

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
        try:
            with pytest.raises(StorageError, match=r"refuses these credentials \(InvalidAccess"):
                get("s3://b/m", tmp_path, {**env, **keys})
            with pytest.raises(StorageError, match="attach a Secret"):
                get("s3://b/m", tmp_path, env)
        finally:
            server.shutdown()
            thread.join()


# The program


@pytest.mark.slow
def test_the_program_fetches_several_and_its_last_words_name_the_next_step(web, tmp_path):
    web.files["/a.onnx"], web.files["/b.onnx"] = MODEL, MODEL

    done = initializer(
        f"{web.url}/a.onnx", str(tmp_path / "a"), f"{web.url}/b.onnx", str(tmp_path / "b")
    )
    assert done.returncode == 0, done.stderr
    assert "is complete: 1 files, 1.0 MB" in done.stdout
    assert files_in(tmp_path) == {"a/a.onnx": MODEL, "b/b.onnx": MODEL}
    failed = initializer(f"{web.url}/none.onnx", str(tmp_path / "a"))
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith("correct the address")
    assert initializer("hdfs://a/b", str(tmp_path)).stderr.startswith("hdfs://a/b is not supported")
