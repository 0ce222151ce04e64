"""Pods leave a node whose taint they do not tolerate."""
