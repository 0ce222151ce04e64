"""`motorpool-server --task ...`: listens, loads, serves, stops; as its other models do."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import structlog

from motorpool.modelserver.flags import UsageError
from motorpool.modelserver.llm.api.listener import CannotListen, Listener, bound
from motorpool.modelserver.llm.api.metrics import Metrics
from motorpool.modelserver.llm.api.server import loaded, until_stopped
from motorpool.modelserver.llm.contract import CheckpointError, Engine, EngineDead
from motorpool.modelserver.llm.ovms.flags import Settings, parse
from motorpool.modelserver.llm.ovms.http import OvmsApp, Switch

log = structlog.get_logger("motorpool.modelserver")

EX_USAGE = 64


def run(argv: Sequence[str]) -> int:
    """Serves as *argv*, without the program's name, says; the exit code."""
    try:
        settings = parse(argv, os.environ)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return EX_USAGE
    import uvloop

    from motorpool.modelserver import logs
    from motorpool.modelserver.llm.engine.process import EngineProcess
    from motorpool.modelserver.llm.main import engine_options

    logs.configure(settings.server.log_level, settings.server.log_path)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    options = engine_options(settings.model)
    if settings.server.cache_dir and "MOTORPOOL_CACHE_DIR" not in os.environ:
        from pathlib import Path

        options = replace(options, cache_dir=Path(settings.server.cache_dir))
    return loop.run_until_complete(serve(settings, EngineProcess(options)))


async def serve(settings: Settings, engine: Engine) -> int:
    """Until SIGTERM, SIGINT or the engine's end; the exit code."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if settings.model.without_effect:
        log.warning("flags without effect", flags=",".join(settings.model.without_effect))
    try:
        return await _serve(settings, engine, stopping)
    except CannotListen as error:
        failure = f"Failed to start REST server: {error}"
    except (CheckpointError, EngineDead) as error:
        failure = f"Failed to load model {settings.server.model_name}: {error}"
    finally:
        await engine.stop()
    log.error(failure)
    return 1


async def _serve(settings: Settings, engine: Engine, stopping: asyncio.Event) -> int:
    """Raises CannotListen, CheckpointError, EngineDead."""
    switch = Switch()
    address = settings.server.rest_bind_address[0]
    listener = Listener(switch, bound(address, settings.server.rest_port), settings.model.tls)
    serving = asyncio.create_task(listener.serve())
    log.info("listening", addresses=address, port=settings.server.rest_port)
    starting = asyncio.create_task(engine.start())
    loading = asyncio.create_task(loaded(settings.model, starting))
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({loading, stopped, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        if not loading.done():
            return 0
        model = loading.result()
        metrics = Metrics(model.name, model.max_model_len, time.time())
        app = OvmsApp(
            *(model, engine, metrics),
            now=time.time,
            chunks_max=settings.chunks_max,
            cors=settings.cors,
        )
        switch.app = app
        log.info("ready", models=model.name)
        timeout_s = settings.model.shutdown_timeout_s
        return await until_stopped(timeout_s, engine, app, (listener, serving), stopped)
    finally:
        listener.stop()
        for task in (starting, loading, stopped):
            task.cancel()
        await asyncio.gather(starting, loading, stopped, return_exceptions=True)
