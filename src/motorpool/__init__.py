"""Serves AI models from Kubernetes manifests, with or without a Kubernetes."""

__version__ = "0.1.0"
