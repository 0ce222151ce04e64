import pytest

from motorpool.storage.errors import StorageError
from motorpool.storage.locations import Location, parse


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("s3://b/a/model", Location("s3://b/a/model", "s3", "b", "a/model")),
        ("gs://b/a/", Location("gs://b/a/", "gs", "b", "a")),
        ("hf://Qwen/Q3", Location("hf://Qwen/Q3", "hub", "Qwen/Q3", revision="main")),
        ("hf://Qwen/Q3:v1", Location("hf://Qwen/Q3:v1", "hub", "Qwen/Q3", revision="v1")),
        ("/models/a", Location("/models/a", "path", path="/models/a")),
        ("file:///models/a%20b", Location("file:///models/a%20b", "path", path="/models/a b")),
        ("https://h/x/m.onnx?a=1", Location("https://h/x/m.onnx?a=1", "web", path="m.onnx")),
        (
            "https://acc.blob.core.windows.net/c/a/b",
            Location("https://acc.blob.core.windows.net/c/a/b", "azure", "c", "a/b", account="acc"),
        ),
        (
            "https://acc.z12.blob.storage.azure.net/c/b",
            Location(
                "https://acc.z12.blob.storage.azure.net/c/b",
                "azure",
                "c",
                "b",
                account="acc",
                endpoint="https://acc.z12.blob.storage.azure.net",
            ),
        ),
        (
            "https://acc.blob.core.windows.net/c/a?sr=c&sp=rl&sig=x",
            Location(
                "https://acc.blob.core.windows.net/c/a",
                "azure",
                "c",
                "a",
                account="acc",
                signature="sr=c&sp=rl&sig=x",
            ),
        ),
        (
            "https://acc.blob.core.windows.net/c/a.onnx?sig=x",
            Location("https://acc.blob.core.windows.net/c/a.onnx?sig=x", "web", path="a.onnx"),
        ),
    ],
)
def test_an_address_names_its_store(uri, location):
    assert parse(uri) == location


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("hdfs://n/a", "not supported: copy the model to s3://, or mount it with pvc://"),
        ("webhdfs://n/a", "not supported: copy the model to s3://"),
        ("ftp://h/a", "not supported: use one of s3:// gs:// https://"),
        ("https://acc.file.core.windows.net/s/a", "use blob storage"),
        ("https://github.com/a/b.git", "pack the files as a ModelCar"),
        ("https://host/models/", "names no file"),
        ("s3:///a", "names no bucket"),
        ("hf://only-a-name", "names no model"),
    ],
)
def test_what_cannot_be_fetched_is_refused_with_what_would_do(uri, says):
    with pytest.raises(StorageError, match="^" + uri.split("?")[0].replace(".", r"\.")) as raised:
        parse(uri)
    assert says in str(raised.value)
