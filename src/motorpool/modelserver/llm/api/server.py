"""One process that serves a language model: binds, loads, listens, serves, stops.

Exit codes: 0 after SIGTERM or SIGINT, 1 where the model cannot be loaded, the port is taken, or the
engine's process has ended; the node then starts the pod's container anew.
"""

import asyncio
import contextlib
import signal
import time

import structlog

from motorpool.modelserver.llm.api.http import App
from motorpool.modelserver.llm.api.listener import CannotListen, Listener, bound
from motorpool.modelserver.llm.api.loading import Texts
from motorpool.modelserver.llm.api.metrics import Metrics
from motorpool.modelserver.llm.api.model import Model
from motorpool.modelserver.llm.contract import CheckpointError, Engine, EngineDead, ModelInfo
from motorpool.modelserver.llm.flags import Settings

log = structlog.get_logger("motorpool.llm")

# Long enough for the last words to running requests to be sent.
DEAD_TIMEOUT_S = 2.0


async def serve(settings: Settings, engine: Engine, starting: asyncio.Task[ModelInfo]) -> int:
    """Until SIGTERM, SIGINT or the engine's end; the exit code.

    *starting* is the engine's start, which is under way while this module is still imported.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if settings.without_effect:
        log.warning("flags without effect on a CPU", flags=",".join(settings.without_effect))
    try:
        return await _serve(settings, engine, starting, stopping)
    except (CannotListen, CheckpointError, EngineDead) as error:
        failure = str(error)
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await engine.stop()
    log.error("cannot serve", model=settings.model, cause=failure)
    return 1


async def _serve(
    settings: Settings,
    engine: Engine,
    starting: asyncio.Task[ModelInfo],
    stopping: asyncio.Event,
) -> int:
    """Raises CannotListen, CheckpointError, EngineDead."""
    taken = bound(settings.host, settings.port)
    with contextlib.closing(taken):
        loading = asyncio.create_task(loaded(settings, starting))
        stopped = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done():
                return 0
            model = loading.result()
            port = taken.getsockname()[1]
            metrics = Metrics(
                model.name, model.max_model_len, time.time(), counts=not settings.disable_log_stats
            )
            app = App(model, engine, metrics, now=time.time)
            listener = Listener(app, taken, settings.tls)
            serving = asyncio.create_task(listener.serve())
            log.info("ready", model=model.name, port=port, load_s=round(model.info.load_s, 2))
            timeout_s = settings.shutdown_timeout_s
            return await until_stopped(timeout_s, engine, app, (listener, serving), stopped)
        finally:
            for task in (loading, stopped):
                task.cancel()
            await asyncio.gather(loading, stopped, return_exceptions=True)


async def loaded(settings: Settings, starting: asyncio.Task[ModelInfo]) -> Model:
    """Once it can answer. Raises CheckpointError, EngineDead."""
    texts = await asyncio.to_thread(Texts, settings)
    return texts.model(await starting)


async def until_stopped(
    timeout_s: float,
    engine: Engine,
    app: App,
    listening: tuple[Listener, asyncio.Task[None]],
    stopped: asyncio.Task[bool],
) -> int:
    """The exit code; *timeout_s* is for what still runs then. Raises CannotListen."""
    listener, serving = listening
    dying = asyncio.create_task(engine.died())
    try:
        await asyncio.wait({stopped, dying, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            raise CannotListen("the HTTP server ended")
        code = 0
        if dying.done():
            app.is_dead = True
            log.error("the engine has ended", cause=str(dying.result()))
            code, timeout_s = 1, DEAD_TIMEOUT_S
        else:
            log.info("stopping")
        listener.stop()
        _, late = await asyncio.wait({serving}, timeout=timeout_s)
        if late:
            log.warning("stopped with requests in flight", waited_s=timeout_s)
        return code
    finally:
        dying.cancel()
