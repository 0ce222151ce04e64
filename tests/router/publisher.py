"""Runs a router over the objects of a file in a process of its own, to be killed by a test.

python publisher.py DATA_DIR OBJECTS
"""

import asyncio
import sys
from pathlib import Path

import structlog
import yaml

from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context
from motorpool.router.publish import Router
from tests.memory_client import MemoryClient


async def main(data_dir, objects):
    client = MemoryClient(*objects)
    informers = Informers(client)
    context = Context(client, informers, EventRecorder(client))
    router = Router(context, data_dir=Path(data_dir), http_port=0, https_port=0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(informers.run())
        tasks.create_task(router.run())
        await router.ready()
        sys.stdout.write(f"{router.http_port} {router.health().pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(sys.argv[1], list(yaml.safe_load_all(Path(sys.argv[2]).read_text()))))
