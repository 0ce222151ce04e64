"""Routes, Services and endpoints become an Envoy configuration, and Envoy gets it."""
