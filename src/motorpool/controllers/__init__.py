"""The serving controllers, both engines. One folder per kind; only reconcile.py acts."""
