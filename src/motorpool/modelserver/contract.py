"""What every engine is: how a model's files become something that answers.

`engine` holds OpenVINO's, `estimators` those of scikit-learn, XGBoost and LightGBM. Loading and
inference block and run on threads; everything else is for the event loop.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from motorpool.modelserver.tensors import Array, ModelSpec


class EngineError(Exception):
    """The model cannot be loaded, for the reason that the text gives."""


class Slot(Protocol):
    """One inference at a time."""

    def infer(self, arrays: Sequence[Array]) -> tuple[list[Array], float]:
        """The outputs, the caller's own, and the engine's own seconds. Raises RuntimeError."""
        ...


class Engine(Protocol):
    """A loaded model; its memory is free once nobody holds it or a slot of it."""

    @property
    def spec(self) -> ModelSpec:
        """What requests see."""
        ...

    @property
    def streams(self) -> int: ...
    @property
    def nireq(self) -> int: ...
    @property
    def parallel(self) -> int:
        """How many slots are worth using at a time."""
        ...

    @property
    def batch_most(self) -> int:
        """Rows worth computing together, of requests that have come together; 1 for none."""
        ...

    @property
    def probabilities(self) -> "Callable[[], Engine] | None":
        """What answers with probabilities, where this can; blocking. Raises EngineError."""
        ...

    def slot(self, *, on_loop: bool = False) -> Slot:
        """*on_loop*: for inferences so short that another thread is not worth waking for them."""
        ...


class Load(Protocol):
    def __call__(self, directory: Path) -> Engine:
        """Blocking. Raises EngineError."""
        ...
