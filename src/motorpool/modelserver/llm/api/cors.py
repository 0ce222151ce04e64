"""What browsers are told of who may read the answers. Pure.

As Starlette's middleware does, which vLLM uses: nothing unless the request comes from a page.
"""

from typing import Any

from motorpool.modelserver.llm.flags import Cors

SAFE_HEADERS = ("Accept", "Accept-Language", "Content-Language", "Content-Type")
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
MAX_AGE_S = 600

Headers = list[tuple[str, str]]


def headers_of(cors: Cors, origin: str | None) -> Headers:
    """Of an answer to a page of *origin*."""
    if origin is None:
        return []
    headers: Headers = []
    if "*" in cors.origins and not cors.credentials:
        headers.append(("access-control-allow-origin", "*"))
    elif "*" in cors.origins or origin in cors.origins:
        headers += [("access-control-allow-origin", origin), ("vary", "Origin")]
    if cors.credentials:
        headers.append(("access-control-allow-credentials", "true"))
    return headers


def preflight(cors: Cors, asked: Any) -> tuple[int, str, Headers]:
    """Status, text and headers; *asked* are the request's headers."""
    origin = asked.get("origin") or ""
    method = asked.get("access-control-request-method") or ""
    wanted = asked.get("access-control-request-headers") or ""
    methods = METHODS if "*" in cors.methods else cors.methods
    headers = headers_of(cors, origin)
    headers += [
        ("access-control-allow-methods", ", ".join(methods)),
        ("access-control-max-age", str(MAX_AGE_S)),
    ]
    allowed = sorted({*SAFE_HEADERS, *cors.headers})
    if "*" in cors.headers:
        headers.append(("access-control-allow-headers", wanted or ", ".join(SAFE_HEADERS)))
    else:
        headers.append(("access-control-allow-headers", ", ".join(allowed)))
    lower = {each.lower() for each in allowed}
    wrong = [
        name
        for name, is_wrong in (
            ("origin", not ({"*", origin} & set(cors.origins))),
            ("method", method not in methods),
            ("headers", "*" not in cors.headers
             and any(each.strip().lower() not in lower for each in wanted.split(",") if each)),
        )
        if is_wrong
    ]  # fmt: skip
    if wrong:
        return 400, "Disallowed CORS " + ", ".join(wrong), headers
    return 200, "OK", headers
