"""What the standard library lacks. Knows nothing above it; could be its own library."""
