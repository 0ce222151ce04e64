"""What a client may ask of a running container. Pure values; the node answers them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from motorpool.api.meta import Object


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The query of ``pods/log``. None means "no limit"."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: int | None = None
    since_time: str = ""  # RFC 3339
    limit_bytes: int | None = None


class PodStreams(Protocol):
    """The node, as far as the API server calls it."""

    def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Chunks of whole lines. Raises NotFound or BadRequest before the first chunk."""
        ...
