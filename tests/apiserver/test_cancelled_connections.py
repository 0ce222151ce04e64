"""Whoever goes away while a connection is made leaves none behind."""

import asyncio
import gc
import warnings

import pytest

from motorpool.api import core
from motorpool.client.http import HttpClient

pytestmark = pytest.mark.slow


async def test_a_request_that_is_cancelled_at_any_moment_leaves_no_connection(kubeconfig):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        for step in range(60):
            async with HttpClient.from_kubeconfig(kubeconfig) as client:
                asking = asyncio.create_task(client.list(core.NAMESPACE))
                await asyncio.sleep(step / 4000)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        gc.collect()
    left = [str(each.message) for each in said if "unclosed" in str(each.message)]
    assert not left
