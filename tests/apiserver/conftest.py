import random
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from motorpool.api.errors import BadRequest
from motorpool.apiserver.access.accounts import AccountTokens
from motorpool.apiserver.app import build_app
from motorpool.apiserver.authentication import ADMIN, TokenAuthenticator
from motorpool.apiserver.certificates import ensure_certificates
from motorpool.apiserver.kubeconfig import write_kubeconfig
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from motorpool.apiserver.serve import serve
from motorpool.base.clock import now
from motorpool.client.http import HttpClient
from motorpool.store import Store


class HandClock:
    """Time that moves when a test says so."""

    def __init__(self):
        self.moment = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

    def __call__(self):
        return self.moment

    def forward(self, **amount):
        self.moment += timedelta(**amount)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
async def store(tmp_path):
    store = Store.open(tmp_path / "state.db")
    yield store
    await store.close()


@pytest.fixture
async def registry(store, clock):
    registry = Registry(store, clock=clock, source=random.Random(1))
    await registry.bootstrap()
    return registry


@pytest.fixture
async def local_client(registry):
    return LocalClient(registry)


TOKEN = "a-token-for-tests"


@pytest.fixture
async def app(registry, tmp_path):
    tokens = TokenAuthenticator({TOKEN: ADMIN})
    accounts = AccountTokens(registry, tmp_path / "sa.key")
    return build_app(registry, tokens=tokens, streams=LineStreams(), accounts=accounts)


class LineStreams:
    """A node whose containers have said three lines."""

    async def logs(self, pod, container, options):
        if options.previous:
            raise BadRequest(f'previous terminated container "{container}" in pod not found')
        lines = [f"{container} {number}\n".encode() for number in range(3)]
        for line in lines[-options.tail_lines :] if options.tail_lines else lines:
            yield line


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    return ensure_certificates(directory, now=now())


@pytest.fixture
async def serving(app, pki):
    async with serve(app, "127.0.0.1", 0, pki) as serving:
        yield serving


@pytest.fixture
def kubeconfig(serving, pki, tmp_path):
    file = tmp_path / "kubeconfig"
    write_kubeconfig(file, server=serving.url, ca=pki.ca, token=TOKEN)
    return file


@pytest.fixture
async def http_client(kubeconfig):
    async with HttpClient.from_kubeconfig(kubeconfig) as client:
        yield client


@pytest.fixture(params=["local", "http"])
def client(request):
    """Each of the two implementations."""
    return request.getfixturevalue(f"{request.param}_client")


@pytest.fixture
async def http(app):
    transport = httpx.ASGITransport(app)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=headers
    ) as client:
        yield client
