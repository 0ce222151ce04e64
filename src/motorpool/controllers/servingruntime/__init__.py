"""The runtimes and the configuration that ship with the platform."""
