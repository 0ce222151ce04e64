"""Kinds as data: names, schemas, defaults, validation, columns. Everything here is pure."""
