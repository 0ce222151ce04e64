"""A file -> the engine of the library that wrote it."""

from collections.abc import Callable
from importlib import import_module

import msgspec

from motorpool.modelserver.contract import Engine, EngineError
from motorpool.modelserver.estimators.engine import Estimator, EstimatorEngine
from motorpool.modelserver.formats import Format, ModelFile


class Options(msgspec.Struct, frozen=True):
    allow_pickle: bool = False
    predict_proba: bool = False
    threads: int = 1  # of one prediction
    nireq: int = 0


def load(file: ModelFile, options: Options) -> Engine:
    """Raises EngineError."""
    if file.format is Format.PMML:
        from motorpool.modelserver.estimators.pmml import engine

        return engine.load(file.path, nireq=options.nireq)
    try:
        probable = _probable(file, options) if file.format is Format.SKLEARN else None
        made = EstimatorEngine(_estimator(file, options), options.nireq, probable)
    except EngineError:
        raise
    except Exception as error:
        # Three libraries, and the code in a pickle: there is no end to what they may raise.
        raise EngineError(f"cannot load {file.path}: {type(error).__name__}: {error}") from error
    if options.predict_proba:
        made.probabilities = lambda: made
    return made


def _probable(file: ModelFile, options: Options) -> Callable[[], EstimatorEngine]:
    """The same model, answering with probabilities; read again once somebody asks for them."""
    seen = file.path.stat()

    def make() -> EstimatorEngine:
        try:
            now = file.path.stat()
            if (now.st_mtime_ns, now.st_size) != (seen.st_mtime_ns, seen.st_size):
                raise EngineError(f"{file.path} has changed since it was loaded")
            asked = msgspec.structs.replace(options, predict_proba=True)
            return EstimatorEngine(_estimator(file, asked), options.nireq)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(
                f"cannot load {file.path}: {type(error).__name__}: {error}"
            ) from error

    return make


def _estimator(file: ModelFile, options: Options) -> Estimator:
    if file.format is Format.SKLEARN:
        return _of_sklearn(file, options)
    _require(file.format)
    if file.format is Format.XGBOOST:
        from motorpool.modelserver.estimators import xgboost

        return xgboost.load(file.path, threads=options.threads)
    from motorpool.modelserver.estimators import lightgbm

    return lightgbm.load(file.path, threads=options.threads)


def _of_sklearn(file: ModelFile, options: Options) -> Estimator:
    if not options.allow_pickle:
        raise EngineError(
            f"{file.path} is a pickle: reading it runs code of whoever wrote it. "
            "If you trust its origin, start the server with --allow_pickle"
        )
    from motorpool.modelserver.estimators import linear

    found = linear.load(file.path, predict_proba=options.predict_proba)
    if found is not None:
        return found
    _require(file.format)
    from motorpool.modelserver.estimators import sklearn

    return sklearn.load(file.path, predict_proba=options.predict_proba)


def _require(kind: Format) -> None:
    try:
        import_module(kind.value)
    except ModuleNotFoundError as error:
        raise EngineError(
            f"a model of the format {kind.value} needs a library that is not installed: "
            f"pip install 'motorpool[{kind.value}]'"
        ) from error
