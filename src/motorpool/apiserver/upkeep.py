"""Keeps the store in order: old history goes, Events go after their hour, and Secrets come to be
sealed by the newest key."""

import asyncio
from datetime import timedelta

import structlog

from motorpool.api import core
from motorpool.api.errors import ApiError
from motorpool.apiserver.shelf import Shelf
from motorpool.base.clock import Clock

log = structlog.get_logger(__name__)

PERIOD_S = 60.0
HISTORY_S = 600.0
HISTORY_REVISIONS_MAX = 20_000
EVENT_LIFE = timedelta(hours=1)
PRUNED_EVENTS_MAX = 1000


async def run(shelf: Shelf, clock: Clock) -> None:
    """Tidies now and then, until cancelled."""
    while True:
        try:
            await tidy(shelf, clock)
        except ApiError as error:
            log.warning("upkeep of the store failed", error=str(error))
        await asyncio.sleep(PERIOD_S)


async def tidy(shelf: Shelf, clock: Clock) -> None:
    oldest = (clock() - EVENT_LIFE).timestamp()
    await shelf.reseal()
    await shelf.prune(core.EVENT, written_before=oldest, limit=PRUNED_EVENTS_MAX)
    await shelf.compact(keep_s=HISTORY_S, keep_revisions=HISTORY_REVISIONS_MAX)
