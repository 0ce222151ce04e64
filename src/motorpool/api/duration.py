"""How long ago, as kubectl prints it: ``72s``, ``2m3s``, ``5h``, ``3d4h``. Pure."""

from datetime import datetime
from functools import lru_cache

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY


def duration(seconds: float) -> str:
    """The one or two largest units that matter at that age."""
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 48 * _HOUR:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _two(whole, _YEAR, "y", _DAY, "d")
    return f"{whole // _YEAR}y"


def _two(whole: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = whole % large // small
    return f"{whole // large}{large_name}" + (f"{rest}{small_name}" if rest else "")


@lru_cache(maxsize=4096)
def parse_time(timestamp: str) -> datetime | None:
    """An RFC 3339 time, or None where the text is none."""
    try:
        time = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def since(timestamp: object, now: datetime) -> str:
    """The age of something of that time; ``<unknown>`` without one."""
    if not timestamp:
        return "<unknown>"
    time = parse_time(str(timestamp))
    return "<invalid>" if time is None else duration((now - time).total_seconds())
