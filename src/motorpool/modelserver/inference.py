"""One request, decoded, on its way through a model; and what the metrics see of it.

Both interfaces, REST and gRPC, and both protocols meet here: they bring values and get values.
"""

import asyncio
from concurrent.futures import Executor
from time import perf_counter
from typing import TypeAlias

from motorpool.modelserver.errors import InferError
from motorpool.modelserver.metrics import Call, InterfaceMetrics
from motorpool.modelserver.model import Serving
from motorpool.modelserver.tensors import Array, Images, InferRequest, TensorSpec, prepared

Outputs: TypeAlias = list[tuple[TensorSpec, Array]]


async def infer(serving: Serving, request: InferRequest, decoders: Executor) -> Outputs:
    """Raises InferError."""
    engine, workers = await serving.asked_by(request)
    spec = engine.spec
    arrays = [
        await _array(each, decoders) if isinstance(each, Images) else each
        for each in prepared(request, spec)
    ]
    serving.metrics.queue_active.value = workers.active
    answer = await workers.infer(arrays)
    serving.metrics.wait_time.observe(answer.waited_s * 1e6)
    serving.metrics.inference_time.observe(answer.inferred_s * 1e6)
    return list(zip(spec.outputs, answer.outputs, strict=True))


class counted:  # noqa: N801 - used as a function; a generator would cost twice as much
    """Counts what happens in the ``with`` block as one request."""

    __slots__ = ("_call", "_interface", "_serving", "_started")

    def __init__(self, serving: Serving, interface: InterfaceMetrics, call: Call) -> None:
        self._serving = serving
        self._interface = interface
        self._call = call

    def __enter__(self) -> None:
        self._started = perf_counter()
        self._serving.metrics.current_requests.value += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._serving.metrics.current_requests.value -= 1
        if kind is None:
            self._call.successes.value += 1
            self._interface.request_time.observe((perf_counter() - self._started) * 1e6)
        # Over gRPC, who leaves or runs out of time cancels the call.
        elif issubclass(kind, InferError | asyncio.CancelledError):
            self._call.failures.value += 1


async def _array(given: Images, decoders: Executor) -> Array:
    return await asyncio.get_running_loop().run_in_executor(decoders, _decoded, given)


def _decoded(given: Images) -> Array:
    # Pillow and its formats are a tenth of the start, and most models never see an image.
    from motorpool.modelserver import images

    return images.tensor_of(given)
