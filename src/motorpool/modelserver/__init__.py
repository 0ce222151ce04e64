"""The data plane. Ships alone; has never heard of Kubernetes."""
