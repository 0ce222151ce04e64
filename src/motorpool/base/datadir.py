"""Where everything that Motorpool keeps lives; one rule for every verb."""

import os
from pathlib import Path


def data_dir(option: str | None) -> Path:
    """*option*, else $MOTORPOOL_DATA_DIR, else motorpool/ in $XDG_DATA_HOME or ~/.local/share."""
    chosen = option or os.environ.get("MOTORPOOL_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    # The XDG rules say that a relative path there is to be ignored.
    shared = os.environ.get("XDG_DATA_HOME", "")
    parent = Path(shared) if shared.startswith("/") else Path.home() / ".local" / "share"
    return parent / "motorpool"
