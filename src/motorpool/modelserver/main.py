"""The command `motorpool-server`, and the two calls of a fork server.

`warm` imports whatever takes time and starts nothing: no thread, no OpenVINO core, so that a
process may fork after it. `run` does the rest, in the child or without any fork server.
"""

import gc
import os
import sys
from collections.abc import Mapping, Sequence

from motorpool import __version__
from motorpool.modelserver import early, imports
from motorpool.modelserver.flags import Settings, UsageError, is_generative, parse, usage
from motorpool.modelserver.graphs import graph_directory

EX_USAGE = 64


def main() -> None:
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # A load that is still under way holds a thread for as long as it takes; nobody waits for it.
    os._exit(code)


def run(argv: Sequence[str]) -> int:
    """Serves as *argv*, without the program's name, says; the exit code.

    Whoever forked for it ends the child with os._exit: see `main`.
    """
    if is_generative(argv) or graph_directory(argv):
        from motorpool.modelserver.llm.ovms import server

        return server.run(argv)
    try:
        settings = parse([*_from_environment(os.environ), *argv] if argv else [])
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return EX_USAGE
    if settings.help:
        sys.stdout.write(usage())
        return 0
    if settings.version:
        sys.stdout.write(f"motorpool-server {__version__}\n")
        return 0
    return _serve(settings)


def _from_environment(environment: Mapping[str, str]) -> list[str]:
    """The switches that a container image sets for the arguments that it is started with."""
    switches = {"PREDICT_PROBA": "--predict_proba", "MOTORPOOL_ALLOW_PICKLE": "--allow_pickle"}
    return [flag for name, flag in switches.items() if environment.get(name, "").lower() == "true"]


def warm() -> None:
    """Imports everything heavy and leaves this process with the threads that it had."""
    imports.prepare()
    with imports.of_a_server():
        import motorpool.modelserver.engine
        import motorpool.modelserver.images
        import motorpool.modelserver.rpc
        import motorpool.modelserver.server  # noqa: F401


def _serve(settings: Settings) -> int:
    imports.prepare()
    # What is imported stays: there is nothing to collect, and it takes a tenth of the time to look.
    gc.disable()
    with imports.of_a_server():
        begun = early.begin(settings)
        import asyncio
        import faulthandler

        import uvloop

        from motorpool.modelserver import logs, server

        if begun is not None:
            begun.imported.wait()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
    gc.enable()
    try:
        logs.configure(settings.log_level, settings.log_path)
    except OSError as error:
        sys.stderr.write(f"error parsing options - --log_path={settings.log_path}: {error}\n")
        return EX_USAGE
    # A crash in native code says in the log where every thread was; the exit code is the signal's.
    faulthandler.enable()
    # Not asyncio.run: it would wait without bound for a load that is still under way.
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(server.serve(settings, begun))
