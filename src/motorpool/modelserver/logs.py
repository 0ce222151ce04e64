"""Log lines: one event with its fields each, on stderr."""

import logging
import sys
from pathlib import Path
from typing import TextIO, cast

import structlog

TRACE = 5


class Both:
    """Writes to two files, of which the second is for whoever comes later."""

    def __init__(self, first: TextIO, second: TextIO) -> None:
        self._files = (first, second)

    def write(self, text: str) -> int:
        for file in self._files:
            file.write(text)
        return len(text)

    def flush(self) -> None:
        for file in self._files:
            file.flush()


def configure(level: str, path: str = "") -> None:
    """Raises OSError where *path* cannot be written."""
    file = Both(sys.stderr, Path(path).open("a")) if path else sys.stderr  # noqa: SIM115 - until we end
    number = TRACE if level == "TRACE" else logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, file)),
        cache_logger_on_first_use=False,
    )
