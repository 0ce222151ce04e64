"""Kustomizations, and the directories of them that are applied at the start."""
