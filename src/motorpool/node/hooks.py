"""Lifecycle hooks: ``postStart`` and ``preStop``."""

import asyncio

from motorpool.api.meta import Object, at
from motorpool.node.probes import ProbeFailed, Target, http_get, port_of


class HookFailed(Exception):
    """Why, as the event has it."""


async def run_hook(hook: Object, target: Target) -> None:
    """Raises HookFailed. The caller bounds the time."""
    try:
        if "sleep" in hook:
            await asyncio.sleep(float(at(hook, "sleep", "seconds", default=0)))
        elif "exec" in hook:
            code, output = await target.execute(hook["exec"].get("command") or [])
            if code != 0:
                raise HookFailed(f"command exited with {code}: {output.strip()[-1024:]}")
        elif "httpGet" in hook:
            await http_get(hook["httpGet"], target)
        elif "tcpSocket" in hook:
            port = port_of(hook["tcpSocket"]["port"], target.container)
            _, writer = await asyncio.open_connection(target.pod_ip, port)
            writer.close()
    except (OSError, EOFError, ValueError, ProbeFailed) as error:
        raise HookFailed(str(error) or type(error).__name__) from error
