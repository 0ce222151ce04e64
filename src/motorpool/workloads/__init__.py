"""What a cluster brings by itself; embedded engine only. One folder per kind."""
