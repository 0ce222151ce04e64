"""What Kubernetes adds to CEL: functions on strings, lists, URLs and addresses. Pure.

Methods come with what they are called on first. An argument of a wrong kind raises ValueError,
which ends the rule with an error. Values are Python's, so a URL or an address is its text.
"""

import ipaddress
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from motorpool.api.patterns import compiled


def _lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def _upper(text: str) -> str:
    return "".join(c.upper() if c.isascii() else c for c in text)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, limit)


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    return list(text) if not separator else text.split(separator, limit - 1 if limit > 0 else -1)


def _join(texts: Sequence[str], separator: str = "") -> str:
    return separator.join(texts)


def _substring(text: str, start: int, end: int | None = None) -> str:
    last = len(text) if end is None else end
    if not 0 <= start <= last <= len(text):
        raise ValueError(f"index out of range: {start}, {last}")
    return text[start:last]


def _char_at(text: str, position: int) -> str:
    if not 0 <= position <= len(text):
        raise ValueError(f"index out of range: {position}")
    return text[position : position + 1]


def _index_of(value: Any, wanted: Any, start: int = 0) -> int:
    if isinstance(value, str):
        return value.find(wanted, start)
    return next((i for i, item in enumerate(value) if item == wanted), -1)


def _last_index_of(value: Any, wanted: Any, end: int | None = None) -> int:
    if isinstance(value, str):
        return value.rfind(wanted, 0, None if end is None else end + len(wanted))
    return max((i for i, item in enumerate(value) if item == wanted), default=-1)


def _find(text: str, pattern: str) -> str:
    found = _pattern(pattern).search(text)
    return found[0] if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = (match[0] for match in _pattern(pattern).finditer(text))
    return list(itertools.islice(found, limit if limit >= 0 else None))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return compiled(text)
    except re.error as error:
        raise ValueError(f"error parsing regexp: {error}") from error


def _is_sorted(items: Sequence[Any]) -> bool:
    return all(left <= right for left, right in itertools.pairwise(items))


def _least(*items: Any) -> Any:
    return min(*items)


def _most(*items: Any) -> Any:
    return max(*items)


# URLs and addresses


def _url(text: str) -> str:
    if not _is_url(text):
        raise ValueError(f"URL parse error during conversion from string: {text}")
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) or text.startswith("/")


def _part(read: Callable[[SplitResult], str]) -> Callable[[str], str]:
    return lambda text: read(urlsplit(text))


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _hostname(parts: SplitResult) -> str:
    return parts.hostname or ""


def _port(parts: SplitResult) -> str:
    return "" if parts.port is None else str(parts.port)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _family(text: str) -> int:
    return ipaddress.ip_address(text).version


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "charAt": _char_at,
    "family": _family,
    "find": _find,
    "findAll": _find_all,
    "getEscapedPath": _part(lambda parts: parts.path),
    "getHost": _part(_host),
    "getHostname": _part(_hostname),
    "getPort": _part(_port),
    "getScheme": _part(lambda parts: parts.scheme),
    "indexOf": _index_of,
    "isCIDR": _is_cidr,
    "isIP": _is_ip,
    "isSorted": _is_sorted,
    "isURL": _is_url,
    "join": _join,
    "lastIndexOf": _last_index_of,
    "lowerAscii": _lower,
    "max": _most,
    "min": _least,
    "replace": _replace,
    "split": _split,
    "substring": _substring,
    "sum": sum,
    "trim": str.strip,
    "upperAscii": _upper,
    "url": _url,
}
