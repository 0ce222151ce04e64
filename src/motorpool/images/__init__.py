"""OCI images as models travel in them: build, pull, push, verify, unpack. No Kubernetes."""
