"""Which models are served: those of the command line, or those of config.json as it now is.

Rules:
  1. A model whose settings changed is loaded anew beside the old one and takes over when it is
     ready; requests that the old one has accepted are finished by it.
  2. A file that says nothing sensible changes nothing. A model that cannot be loaded leaves the
     others, and what it served before, as they are.
  3. One look at a time, whoever asks for it: the clock or a client.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from motorpool.modelserver.catalog import Catalog
from motorpool.modelserver.configfile import ConfigError, NotJson, parse_config
from motorpool.modelserver.errors import InvalidConfig, NoConfig, ReloadFailed
from motorpool.modelserver.flags import Settings
from motorpool.modelserver.model import LoadFailed, Model

log = structlog.get_logger("motorpool.modelserver")

# Editors write in place: a file that is no JSON now may be some in a moment.
READS = 3
READ_AGAIN_S = 0.1


class Manager:
    def __init__(
        self, settings: Settings, catalog: Catalog, make: Callable[[Settings], Model]
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._make = make
        self._served: dict[str, Settings] = {}
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """For the first time. Raises LoadFailed where the command line's only model fails."""
        if not self._settings.config_path:
            model = self._make(self._settings)
            self._catalog.put(model)
            self._served[model.name] = self._settings
            await model.refresh()
            return
        try:
            await self.reload()
        except (InvalidConfig, NoConfig) as error:
            raise LoadFailed(f"{self._settings.config_path}: {error}") from error
        except ReloadFailed as error:
            log.warning("not all models are served", cause=str(error))

    async def reload(self) -> bool:
        """Whether anything changed. Raises ReloadFailed, InvalidConfig."""
        async with self._lock:
            wanted = await self._wanted()
            changed = self._remove(set(self._served) - {each.model_name for each in wanted})
            failures: list[str] = []
            for settings in wanted:
                try:
                    changed |= await self._serve(settings)
                except LoadFailed as error:
                    failures.append(f"{settings.model_name}: {error}")
        if failures:
            raise ReloadFailed("; ".join(failures))
        return changed

    async def watch(self, interval_s: float) -> None:
        """Looks for changes until cancelled."""
        last_failure = None
        while True:
            await asyncio.sleep(interval_s)
            failure = await self._failure_of_reload()
            if failure not in (None, last_failure):
                log.error("still serving the old versions", cause=failure)
            last_failure = failure

    async def _failure_of_reload(self) -> str | None:
        try:
            await self.reload()
        except ReloadFailed as error:
            return str(error)
        return None

    async def _wanted(self) -> list[Settings]:
        if not self._settings.config_path:
            return [self._settings]
        path = Path(self._settings.config_path)
        for attempt in range(1, READS + 1):
            try:
                content = await asyncio.to_thread(path.read_bytes)
                return parse_config(content, path.parent, self._settings)
            except OSError as error:
                raise NoConfig from error
            except NotJson as error:
                if attempt == READS:
                    raise InvalidConfig(str(error)) from error
                await asyncio.sleep(READ_AGAIN_S)
            except ConfigError as error:
                raise InvalidConfig(str(error)) from error
        raise AssertionError("unreachable")

    async def _serve(self, settings: Settings) -> bool:
        """Whether that changed anything. Raises LoadFailed."""
        name = settings.model_name
        current = self._catalog.find(name)
        if current is not None and self._served.get(name) == settings:
            return await current.refresh()
        model = self._make(settings)
        if current is None:
            # Visible from now on, as one that is being loaded.
            self._catalog.put(model)
            self._served[name] = settings
            await model.refresh()
            return True
        await model.refresh()
        self._catalog.put(model)
        self._served[name] = settings
        current.close(successor=model)
        return True

    def _remove(self, names: set[str]) -> bool:
        for name in names:
            del self._served[name]
            model = self._catalog.take(name)
            if model is not None:
                model.close()
                log.info("removed", model=name)
        return bool(names)
