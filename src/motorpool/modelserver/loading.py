"""A version's directory -> the engine that fits what lies there.

OpenVINO is imported with the first model that needs it: it costs 50 MB that scikit-learn does not.
"""

import os
from pathlib import Path
from typing import Any

from motorpool.modelserver import formats
from motorpool.modelserver.contract import Engine, EngineError
from motorpool.modelserver.flags import Settings
from motorpool.modelserver.formats import FormatError, ModelFile
from motorpool.modelserver.preprocess import Steps


class Loader:
    """Blocking; used by one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._core: Any = None

    def __call__(self, directory: Path) -> Engine:
        """Raises EngineError."""
        try:
            file = formats.find(directory, self._settings.model_format)
        except FormatError as error:
            raise EngineError(str(error)) from error
        return self._estimator(file) if file.format.is_estimator else self._openvino(file)

    def _estimator(self, file: ModelFile) -> Engine:
        from motorpool.modelserver.estimators import loading

        settings = self._settings
        options = loading.Options(
            allow_pickle=settings.allow_pickle,
            predict_proba=settings.predict_proba,
            threads=settings.nthread,
            nireq=settings.nireq,
        )
        return loading.load(file, options)

    def _openvino(self, file: ModelFile) -> Engine:
        from motorpool.modelserver import engine

        settings = self._settings
        options = engine.Options(
            device=engine.device_to_use(
                settings.target_device, accelerators=engine.has_accelerators()
            ),
            layouts=settings.layout,
            shapes=settings.shape,
            batch_size=settings.batch_size,
            steps=Steps(settings.precision, settings.color_format, settings.mean, settings.scale),
            nireq=settings.nireq,
            properties=_cache(settings)
            | engine.threads_of(os.environ, os.cpu_count() or 1)
            | dict(settings.plugin_config),
        )
        if self._core is None:
            self._core = _core(settings)
        return engine.load(self._core, file.path, options)


def _cache(settings: Settings) -> dict[str, str | int | float | bool]:
    return {"CACHE_DIR": settings.cache_dir} if settings.cache_dir else {}


def _core(settings: Settings) -> Any:
    import openvino as ov

    core = ov.Core()
    if settings.cpu_extension:
        try:
            core.add_extension(settings.cpu_extension)
        except RuntimeError as error:
            raise EngineError(f"cannot load {settings.cpu_extension}: {error}") from error
    return core
