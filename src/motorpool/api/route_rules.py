"""What a Route may say beyond its schema. Pure."""

import re
from collections.abc import Iterator, Sequence

from motorpool.api.errors import FieldError
from motorpool.api.meta import Object, annotations_of, at

NON_DNS_HOST = "route.openshift.io/allow-non-dns-compliant-host"
LABEL_LENGTH_MAX = 63
HOST_LENGTH_MAX = 253
FORBIDDEN_HEADERS = ("strict-transport-security", "proxy", "cookie", "set-cookie")

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_TOKEN = re.compile(r"[-!#$%&'*+.0-9A-Z^_`a-z|~]+")
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name', or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def generated_label(route: Object) -> str:
    """The first label of the host that a route without one gets."""
    metadata = route["metadata"]
    return f"{metadata['name'].replace('.', '-')}-{metadata.get('namespace', '')}"


def wants_generated_host(route: Object) -> bool:
    spec = route.get("spec") or {}
    return (
        not spec.get("host")
        and not spec.get("subdomain")
        and spec.get("wildcardPolicy") != "Subdomain"
    )


def host_errors(host: str, *, any_label_length: bool) -> list[str]:
    """Why *host* is no host name, in the words of Kubernetes."""
    texts = []
    if len(host) > HOST_LENGTH_MAX:
        texts.append(f"must be no more than {HOST_LENGTH_MAX} characters")
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        texts.append(_SUBDOMAIN_TEXT)
    if not any_label_length and any(len(label) > LABEL_LENGTH_MAX for label in labels):
        texts.append(f"must be no more than {LABEL_LENGTH_MAX} characters")
    return texts


def validate(new: Object, old: Object | None) -> Sequence[FieldError]:
    spec = new.get("spec") or {}
    return [
        *_host(new, old),
        *_backends(spec),
        *_path(spec),
        *_port(spec),
        *_tls(spec),
        *_headers(spec),
        *_wildcard(spec, old),
    ]


def _host(new: Object, old: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    lenient = annotations_of(new).get(NON_DNS_HOST) == "true"
    host = spec.get("host")
    if host:
        for text in host_errors(host, any_label_length=lenient):
            yield FieldError.invalid("spec.host", host, text)
    elif old is None and wants_generated_host(new) and new["metadata"].get("name"):
        label = generated_label(new)
        if len(label) > LABEL_LENGTH_MAX and not lenient:
            text = f"must be no more than {LABEL_LENGTH_MAX} characters"
            yield FieldError.invalid("spec.host", label, text)
    subdomain = spec.get("subdomain")
    if subdomain:
        for text in host_errors(subdomain, any_label_length=lenient):
            yield FieldError.invalid("spec.subdomain", subdomain, text)


def _backends(spec: Object) -> Iterator[FieldError]:
    backends = [("spec.to", spec.get("to") or {})]
    for index, backend in enumerate(spec.get("alternateBackends") or ()):
        backends.append((f"spec.alternateBackends[{index}]", backend))
    for path, backend in backends:
        if not backend.get("name"):
            yield FieldError.required(f"{path}.name")
        if backend.get("kind") not in (None, "Service"):
            yield FieldError.not_supported(f"{path}.kind", backend["kind"], ("Service",))
        weight = backend.get("weight")
        if weight is not None and not 0 <= weight <= 256:
            yield FieldError.invalid(f"{path}.weight", weight, "must be between 0 and 256")
    if len(backends) > 4:
        text = "cannot specify more than 3 alternate backends"
        yield FieldError.invalid("spec.alternateBackends", len(backends) - 1, text)


def _path(spec: Object) -> Iterator[FieldError]:
    path = spec.get("path")
    if not path:
        return
    if at(spec, "tls", "termination") == "passthrough":
        text = "passthrough termination does not support paths"
        yield FieldError.invalid("spec.path", path, text)
    if not path.startswith("/"):
        yield FieldError.invalid("spec.path", path, "path must begin with /")
    if "#" in path or re.search(r"\s", path):
        yield FieldError.invalid("spec.path", path, "path cannot contain whitespace or '#'")


def _port(spec: Object) -> Iterator[FieldError]:
    port = spec.get("port")
    if port is None:
        return
    target = port.get("targetPort")
    if target in (None, "", 0):
        yield FieldError.required("spec.port.targetPort")
    elif isinstance(target, int) and not 0 < target < 65536:
        yield FieldError.invalid(
            "spec.port.targetPort", target, "must be between 1 and 65535, inclusive"
        )


def _tls(spec: Object) -> Iterator[FieldError]:
    tls = spec.get("tls")
    if tls is None:
        return
    termination = tls.get("termination") or ""
    match termination:
        case "passthrough":
            yield from _unwanted(
                tls,
                ("certificate", "key", "caCertificate", "destinationCACertificate"),
                termination,
            )
        case "edge":
            yield from _unwanted(tls, ("destinationCACertificate",), termination)
        case "reencrypt":
            pass
        case _:
            kinds = ("edge", "passthrough", "reencrypt")
            yield FieldError.not_supported("spec.tls.termination", termination, kinds)
    yield from _insecure_policy(tls, termination)
    if at(tls, "externalCertificate", "name") and (tls.get("certificate") or tls.get("key")):
        text = "cannot be set together with spec.tls.certificate or spec.tls.key"
        name = tls["externalCertificate"]["name"]
        yield FieldError.invalid("spec.tls.externalCertificate", name, text)
    if termination in ("edge", "reencrypt"):
        yield from _certificates(tls)


def _unwanted(tls: Object, names: Sequence[str], termination: str) -> Iterator[FieldError]:
    for name in names:
        if tls.get(name):
            # The value may be a private key: it is not repeated.
            text = f"{termination} termination does not support {name}"
            yield FieldError.invalid(f"spec.tls.{name}", "redacted", text)


def _insecure_policy(tls: Object, termination: str) -> Iterator[FieldError]:
    policy = tls.get("insecureEdgeTerminationPolicy") or ""
    allowed = (
        ("None", "Redirect") if termination == "passthrough" else ("Allow", "None", "Redirect")
    )
    if policy and policy not in allowed:
        path = "spec.tls.insecureEdgeTerminationPolicy"
        yield FieldError.not_supported(path, policy, allowed)


def _certificates(tls: Object) -> Iterator[FieldError]:
    """Whether what is given parses, and whether certificate and key are a pair."""
    names = ("certificate", "caCertificate", "destinationCACertificate")
    if not any(tls.get(name) for name in (*names, "key")):
        return
    # Here and not above: few routes carry certificates, and the library is large.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    certificates = {}
    for name in names:
        if tls.get(name):
            try:
                certificates[name] = x509.load_pem_x509_certificates(tls[name].encode())[0]
            except ValueError:
                # The library's own words speak to programmers, and link to its manual.
                text = "must be PEM-encoded certificates, each from BEGIN to END CERTIFICATE"
                yield FieldError.invalid(f"spec.tls.{name}", "redacted certificate data", text)
    if not tls.get("key"):
        if tls.get("certificate"):
            yield FieldError.required("spec.tls.key", "a certificate needs its private key")
        return
    try:
        key = load_pem_private_key(tls["key"].encode(), password=None)
    except (ValueError, TypeError):
        text = "must be an unencrypted PEM-encoded private key"
        yield FieldError.invalid("spec.tls.key", "redacted key data", text)
        return
    certificate = certificates.get("certificate")
    if certificate is not None and certificate.public_key() != key.public_key():
        text = "the private key does not belong to the certificate"
        yield FieldError.invalid("spec.tls.key", "redacted key data", text)


def _headers(spec: Object) -> Iterator[FieldError]:
    actions = at(spec, "httpHeaders", "actions", default={})
    if any(actions.values()) and at(spec, "tls", "termination") == "passthrough":
        text = "passthrough termination does not support header actions"
        yield FieldError.forbidden("spec.httpHeaders.actions", text)
    for side in ("request", "response"):
        for index, action in enumerate(actions.get(side) or ()):
            path = f"spec.httpHeaders.actions.{side}[{index}]"
            name = str(action.get("name", ""))
            if name.lower() in FORBIDDEN_HEADERS:
                text = "the following headers may not be modified using this API: " + ", ".join(
                    FORBIDDEN_HEADERS
                )
                yield FieldError.forbidden(f"{path}.name", text)
            elif not _TOKEN.fullmatch(name):
                yield FieldError.invalid(f"{path}.name", name, "must be a valid HTTP header name")
            if (at(action, "action", "type") == "Set") != bool(at(action, "action", "set")):
                text = "set is required when type is Set, and forbidden otherwise"
                yield FieldError.invalid(f"{path}.action", at(action, "action", "type"), text)


def _wildcard(spec: Object, old: Object | None) -> Iterator[FieldError]:
    policy = spec.get("wildcardPolicy") or "None"
    if policy not in ("None", "Subdomain"):
        kinds = ("None", "Subdomain")
        yield FieldError.not_supported("spec.wildcardPolicy", policy, kinds)
    elif policy == "Subdomain" and not spec.get("host"):
        text = "host name not specified for wildcard policy"
        yield FieldError.invalid("spec.wildcardPolicy", policy, text)
    before = (at(old, "spec", "wildcardPolicy") or "None") if old is not None else policy
    if before != policy:
        yield FieldError.invalid("spec.wildcardPolicy", policy, "field is immutable")
