"""Keys, bytes and revisions in SQLite. Knows no kinds."""
