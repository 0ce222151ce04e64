"""A head start: the only model is read while the rest of the server is still being imported.

What OpenVINO does with a model needs no GIL, and what Python imports needs nothing else, so the two
take the time of the longer one. What fails here is
tried again, and told, by whoever loads it in the ordinary way.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from motorpool.modelserver import formats, imports, repository

if TYPE_CHECKING:  # They import numpy, which is what this is not to wait for.
    from motorpool.modelserver.contract import Engine, Load
    from motorpool.modelserver.flags import Settings


class Early:
    """One load, begun on a thread of its own."""

    def __init__(self, settings: "Settings", directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._engine: Engine | None = None
        self._thread = threading.Thread(target=self._run, name="early", daemon=True)
        self.imported = threading.Event()
        self._thread.start()

    def loading_by(self, load: "Load") -> "Load":
        """*load*, but of what has been begun already, once."""

        def taken(directory: Path) -> "Engine":
            self._thread.join()
            engine, self._engine = self._engine, None
            return load(directory) if engine is None or directory != self._directory else engine

        return taken

    def _run(self) -> None:
        try:
            imports.map_openvino()
            from motorpool.modelserver import engine, loading  # noqa: F401

            self.imported.set()
            self._engine = loading.Loader(self._settings)(self._directory)
        except Exception:  # noqa: BLE001 - it fails again, and tells why, when it is asked for
            self._engine = None
        finally:
            self.imported.set()


def begin(settings: "Settings") -> Early | None:
    """None where there is nothing to win: several models, or one that OpenVINO does not run."""
    if settings.config_path:
        return None
    path = Path(settings.model_path)
    try:
        wanted = settings.model_version_policy.choose(repository.existing_versions(path))
        directory = repository.version_directory(path, max(wanted))
        found = formats.find(directory, settings.model_format)
    except (repository.RepositoryError, formats.FormatError, ValueError, OSError):
        return None
    return None if found.format.is_estimator else Early(settings, directory)
