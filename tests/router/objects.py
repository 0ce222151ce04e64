"""Routes and EndpointSlices with sane defaults; a test states only what it is about."""


def route(name="iris", namespace="n", host="", *, admitted=True, annotations=None, **spec):
    host = host or f"{name}.example.com"
    condition = {"type": "Admitted", "status": "True" if admitted else "False"}
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations or {}},
        "spec": {
            "host": host,
            "to": {"kind": "Service", "name": name, "weight": 100},
            "wildcardPolicy": "None",
            **spec,
        },
        "status": {"ingress": [{"host": host, "routerName": "default", "conditions": [condition]}]},
    }


def endpoint(address, *, ready=True):
    return {"addresses": [address], "conditions": {"ready": ready}}


def endpoint_slice(service="iris", *endpoints, namespace="n", ports=None, suffix="a"):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{suffix}",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": ports or [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def service(name="iris", address="127.128.77.1", *, namespace="n", ports=None, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "ports": ports or [{"name": "http", "port": 18080, "protocol": "TCP"}],
            "sessionAffinity": "None",
            **spec,
        },
    }
