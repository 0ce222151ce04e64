from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.storage.servers import Web, s3_server, web_server


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_env(s3_endpoint: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": s3_endpoint, "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip


@pytest.fixture
def bucket(s3_env: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Any]:
    """A new bucket in the store; `put(path, bytes)` fills it."""
    import httpx

    name = f"b{abs(hash(request.node.nodeid)) % 10**12}"

    class Bucket:
        def __init__(self) -> None:
            self.name = name
            self.url = f"{s3_env['AWS_ENDPOINT_URL']}/{name}"

        def put(self, path: str, content: bytes, headers: Mapping[str, str] | None = None) -> None:
            httpx.put(f"{self.url}/{path}", content=content, headers=headers).raise_for_status()

    httpx.put(f"{s3_env['AWS_ENDPOINT_URL']}/{name}").raise_for_status()
    yield Bucket()
