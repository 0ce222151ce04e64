"""``python -m motorpool.authproxy``, and what the fork server calls in its place."""

import asyncio
import os
import sys
from collections.abc import Sequence

from motorpool.authproxy import flags, rules

EX_USAGE, EX_CONFIG = 64, 78


def run(argv: Sequence[str]) -> int:
    """Serves as *argv*, without the program's name, says; the exit code."""
    try:
        settings = flags.parse(argv, pod_ip=os.environ.get("MOTORPOOL_POD_IP", ""))
        rule = rules.read(settings.config_file)
    except flags.UsageError as error:
        sys.stderr.write(f"{error}\n")
        return EX_USAGE
    except rules.RulesError as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    import uvloop

    from motorpool.authproxy import server

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(server.serve(settings, rule))
    except server.CannotServe as error:
        sys.stderr.write(f"{error}\n")
        return 1


def warm() -> None:
    """Imports everything, for the children of a fork server to share."""
    import http.client
    import json
    import ssl

    import httptools
    import uvloop
    import yaml

    from motorpool.authproxy import envoy, judge, listener, reviews, server
    from motorpool.client import kubeconfig

    del (
        http,
        json,
        ssl,
        httptools,
        uvloop,
        yaml,
        envoy,
        judge,
        listener,
        reviews,
        server,
        kubeconfig,
    )
