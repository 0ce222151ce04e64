"""The Kubernetes API over the store: the verbs in `registry.py`, HTTP around them in `app.py`."""
