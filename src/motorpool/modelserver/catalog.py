"""The models of this server by name, and how far the server is in its life.

`ready` is set once every model has been loaded for the first time and stays set, as in OpenVINO
Model Server; `stopping` is set by SIGTERM. Touched from the event loop only.
"""

import asyncio

from motorpool.modelserver.errors import NotFound
from motorpool.modelserver.model import Model

NO_MODEL = "Model with requested name is not found"
# The last place where OpenVINO Model Server looks for a name to infer with is among its graphs.
NO_GRAPH = "Mediapipe graph definition with requested name is not found"


class Catalog:
    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()
        self._models: dict[str, Model] = {}

    @property
    def models(self) -> list[Model]:
        """In the order of names."""
        return [self._models[name] for name in sorted(self._models)]

    def find(self, name: str) -> Model | None:
        return self._models.get(name)

    def model(self, name: str, otherwise: str = NO_MODEL) -> Model:
        """Raises NotFound with the text *otherwise*."""
        found = self._models.get(name)
        if found is None:
            raise NotFound(otherwise)
        return found

    def put(self, model: Model) -> Model | None:
        """Serves *model* from now on; the one that had its name before."""
        previous = self._models.get(model.name)
        self._models[model.name] = model
        return previous

    def take(self, name: str) -> Model | None:
        """Serves nothing of that name from now on."""
        return self._models.pop(name, None)

    def close(self) -> None:
        for model in self._models.values():
            model.close()
