"""Models from object stores, web servers, hubs and paths into a directory. Knows no Kubernetes."""
