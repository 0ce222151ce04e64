"""Serving certificates of Services, as OpenShift's service-ca makes them."""
