import asyncio

import pytest

from motorpool.apiserver import definitions
from motorpool.loop import runner
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context
from motorpool.workloads.garbage import reconcile as garbage
from motorpool.workloads.namespace import reconcile as namespace
from tests.apiserver.conftest import (  # noqa: F401  # fixtures
    app,
    clock,
    http,
    kubeconfig,
    local_client,
    pki,
    registry,
    serving,
    store,
)
from tests.apiserver.test_kubectl import kubectl  # noqa: F401  # a fixture
from tests.definitions.objects import DEFINITIONS

DEADLINE_S = 30.0


class Defined:
    """An API server that makes definitions true."""

    def __init__(self, http):  # noqa: F811
        self.http = http

    async def established(self, definition):
        """Creates the definition; returns once it is served."""
        answer = await self.http.post(DEFINITIONS, json=definition)
        assert answer.status_code == 201, answer.text
        return await self.until(definition["metadata"]["name"], "Established", "True")

    async def until(self, name, condition, status):
        async with asyncio.timeout(DEADLINE_S):
            while True:
                found = (await self.http.get(f"{DEFINITIONS}/{name}")).json()
                conditions = found["status"]["conditions"] or ()
                if any((c["type"], c["status"]) == (condition, status) for c in conditions):
                    return found
                await asyncio.sleep(0.005)

    async def gone(self, path):
        async with asyncio.timeout(DEADLINE_S):
            while True:
                answer = await self.http.get(path)
                if answer.status_code == 404:
                    return answer
                await asyncio.sleep(0.005)


@pytest.fixture
async def defined(registry, local_client, http, serving):  # noqa: F811
    """Starts what serves definitions, and the controllers that must learn of their kinds."""
    informers, events = Informers(local_client), EventRecorder(local_client)
    context = Context(client=local_client, informers=informers, events=events, kinds=registry.kinds)
    controllers = [
        definitions.controller(registry, local_client, informers),
        garbage.controller(context),
        namespace.controller(context),
    ]
    tasks = [asyncio.create_task(runner.run(each)) for each in controllers]
    tasks.append(asyncio.create_task(informers.run()))
    yield Defined(http)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
