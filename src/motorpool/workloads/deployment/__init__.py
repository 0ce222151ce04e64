"""Deployments: which ReplicaSets should exist, and how many pods each may have at this moment."""
