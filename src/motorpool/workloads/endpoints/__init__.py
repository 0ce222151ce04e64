"""Endpoints, the older form of EndpointSlices, kept for the clients that read or write it."""
