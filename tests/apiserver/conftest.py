import random
from datetime import UTC, datetime, timedelta

import pytest

from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
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
async def client(registry):
    return LocalClient(registry)
