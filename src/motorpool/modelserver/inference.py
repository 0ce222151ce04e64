"""One request, decoded, on its way through a model; and what the metrics see of it.

Both interfaces, REST and gRPC, and both protocols meet here: they bring values and get values.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from time import perf_counter
from typing import TypeAlias

from motorpool.modelserver import images
from motorpool.modelserver.errors import InferError
from motorpool.modelserver.metrics import Call, InterfaceMetrics
from motorpool.modelserver.model import Serving
from motorpool.modelserver.tensors import Array, Images, InferRequest, TensorSpec, prepared

Outputs: TypeAlias = list[tuple[TensorSpec, Array]]


async def infer(serving: Serving, request: InferRequest, decoders: Executor) -> Outputs:
    """Raises InferError."""
    spec = serving.engine.spec
    arrays = [await _array(each, decoders) for each in prepared(request, spec)]
    serving.metrics.queue_active.value = serving.workers.active
    answer = await serving.workers.infer(arrays)
    serving.metrics.wait_time.observe(answer.waited_s * 1e6)
    serving.metrics.inference_time.observe(answer.inferred_s * 1e6)
    return list(zip(spec.outputs, answer.outputs, strict=True))


@contextmanager
def counted(serving: Serving, interface: InterfaceMetrics, call: Call) -> Iterator[None]:
    """Counts what happens in the ``with`` block as one request."""
    started = perf_counter()
    serving.metrics.current_requests.value += 1
    try:
        yield
    except InferError:
        call.failures.value += 1
        raise
    finally:
        serving.metrics.current_requests.value -= 1
    call.successes.value += 1
    interface.request_time.observe((perf_counter() - started) * 1e6)


async def _array(given: Array | Images, decoders: Executor) -> Array:
    if isinstance(given, Images):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(decoders, images.tensor_of, given)
    return given
