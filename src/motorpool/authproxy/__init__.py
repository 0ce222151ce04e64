"""The proxy that lets only those through to a model who may `get` its InferenceService.

It takes kube-rbac-proxy's flags and its file of rules, and stands in for that image where pods are
processes. Envoy carries the requests: TLS, HTTP/1.1 and HTTP/2, streams in both directions, limits.
Before it lets one through it asks this package, over a socket of its own, whether the bearer may.

    flags.py     the command line, as a value
    rules.py     the rights that a caller needs, from the file
    envoy.py     Envoy's configuration
    reviews.py   asks the API whose a token is, and whether he may
    judge.py     remembers what was said, for how long, and what holds while the API is silent
    listener.py  what Envoy asks: the verdict on a request, its certificate, its health
    server.py    runs both and ends them together

Rule: nothing is let through that was not allowed. Whatever cannot be asked is refused.
"""
