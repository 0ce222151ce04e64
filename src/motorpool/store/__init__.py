"""Keys, bytes and revisions in SQLite. Knows no kinds.

`Store` is the whole interface; `errors` draws the tree of what it raises.
"""

from motorpool.store.rows import Page, Row
from motorpool.store.store import Store

__all__ = ["Page", "Row", "Store"]
