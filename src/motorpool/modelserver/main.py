"""The command `motorpool-server`, and the two calls of a fork server.

`warm` imports whatever takes time and starts nothing: no thread, no OpenVINO core, so that a
process may fork after it. `run` does the rest, in the child or without any fork server.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from motorpool import __version__
from motorpool.modelserver.flags import Settings, UsageError, parse, usage

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
    _prepare_imports()
    import motorpool.modelserver.engine
    import motorpool.modelserver.rpc
    import motorpool.modelserver.server  # noqa: F401


def _prepare_imports() -> None:
    # OpenBLAS starts a thread for each core when numpy is imported; the engine does not use it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # OpenVINO's import reports itself over the network, from a thread, where this module exists.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def _serve(settings: Settings) -> int:
    _prepare_imports()
    import asyncio

    import uvloop

    from motorpool.modelserver import logs, server

    try:
        logs.configure(settings.log_level, settings.log_path)
    except OSError as error:
        sys.stderr.write(f"error parsing options - --log_path={settings.log_path}: {error}\n")
        return EX_USAGE
    # Not asyncio.run: it would wait without bound for a load that is still under way.
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(server.serve(settings))
