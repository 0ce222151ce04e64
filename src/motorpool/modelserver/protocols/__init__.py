"""Bytes to values and back, one file for each protocol. Pure: no sockets, no clock, no models."""
