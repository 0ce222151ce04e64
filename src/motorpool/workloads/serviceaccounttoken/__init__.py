"""Secrets that hold a lasting token of a ServiceAccount, filled and cleared away."""
