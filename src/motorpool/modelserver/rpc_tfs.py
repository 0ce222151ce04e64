"""TensorFlow Serving's two gRPC services, of which OpenVINO Model Server offers these methods."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any

from motorpool.modelserver.catalog import Catalog
from motorpool.modelserver.errors import NotLoaded
from motorpool.modelserver.inference import counted, infer
from motorpool.modelserver.protocols import tfs_grpc

Methods = dict[str, Callable[[Any], Awaitable[Any]]]


class TensorFlowServing:
    def __init__(self, catalog: Catalog, decoders: Executor) -> None:
        self._catalog = catalog
        self._decoders = decoders

    def services(self) -> dict[str, Methods]:
        return {
            tfs_grpc.PREDICTION_SERVICE: {
                "Predict": self._predict,
                "GetModelMetadata": self._metadata,
            },
            tfs_grpc.MODEL_SERVICE: {"GetModelStatus": self._status},
        }

    async def _predict(self, request: Any) -> Any:
        spec = request.model_spec
        serving = await self._catalog.model(spec.name).serving(tfs_grpc.version_number(spec))
        series = serving.metrics.grpc
        with counted(serving, series, series.predict):
            outputs = await infer(serving, tfs_grpc.decode_predict(request), self._decoders)
            return tfs_grpc.encode_predict(spec.name, serving.number, outputs)

    async def _metadata(self, request: Any) -> Any:
        spec = request.model_spec
        version = self._catalog.model(spec.name).version(tfs_grpc.version_number(spec))
        if version.serving is None:
            raise NotLoaded
        version.serving.metrics.grpc.model_metadata.successes.value += 1
        return tfs_grpc.encode_metadata(spec.name, version.number, version.serving.engine.spec)

    async def _status(self, request: Any) -> Any:
        model = self._catalog.model(request.model_spec.name)
        versions = model.status(tfs_grpc.version_number(request.model_spec))
        model.count_status("gRPC")
        return tfs_grpc.encode_status(versions)
