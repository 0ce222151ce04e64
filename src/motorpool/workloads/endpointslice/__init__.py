"""EndpointSlices: where the pods behind each Service answer."""
