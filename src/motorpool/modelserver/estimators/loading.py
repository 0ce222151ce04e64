"""A file -> the engine of the library that wrote it."""

from dataclasses import dataclass
from importlib import import_module

from motorpool.modelserver.contract import EngineError
from motorpool.modelserver.estimators.engine import Estimator, EstimatorEngine
from motorpool.modelserver.formats import Format, ModelFile


@dataclass(frozen=True, slots=True)
class Options:
    allow_pickle: bool = False
    predict_proba: bool = False
    threads: int = 1  # of one prediction
    nireq: int = 0


def load(file: ModelFile, options: Options) -> EstimatorEngine:
    """Raises EngineError."""
    try:
        return EstimatorEngine(_estimator(file, options), options.nireq)
    except EngineError:
        raise
    except Exception as error:
        # Three libraries, and the code in a pickle: there is no end to what they may raise.
        raise EngineError(f"cannot load {file.path}: {type(error).__name__}: {error}") from error


def _estimator(file: ModelFile, options: Options) -> Estimator:
    _require(file.format)
    if file.format is Format.SKLEARN:
        from motorpool.modelserver.estimators import sklearn

        return sklearn.load(
            file.path, allow_pickle=options.allow_pickle, predict_proba=options.predict_proba
        )
    if file.format is Format.XGBOOST:
        from motorpool.modelserver.estimators import xgboost

        return xgboost.load(file.path, threads=options.threads)
    from motorpool.modelserver.estimators import lightgbm

    return lightgbm.load(file.path, threads=options.threads)


def _require(kind: Format) -> None:
    try:
        import_module(kind.value)
    except ModuleNotFoundError as error:
        raise EngineError(
            f"a model of the format {kind.value} needs a library that is not installed: "
            f"pip install 'motorpool[{kind.value}]'"
        ) from error
