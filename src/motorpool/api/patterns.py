"""Regular expressions as users of the Kubernetes API write them: RE2's, run by Python's. Pure."""

import re
from functools import lru_cache

PATTERNS_REMEMBERED_MAX = 2048


@lru_cache(maxsize=PATTERNS_REMEMBERED_MAX)
def compiled(pattern: str) -> re.Pattern[str]:
    """Raises re.error."""
    # RE2's absolute end is \z; Python's `$` also matches before a final newline, RE2's does not.
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern.replace(r"\z", r"\Z")))
