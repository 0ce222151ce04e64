"""Containers as podman's: `engine.PodmanEngine` over the REST socket of libpod."""
