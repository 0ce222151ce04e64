"""The machinery every controller turns on: informers, work queues, the runner."""
