"""Refusals that are no failures. Pure."""

from motorpool.api.errors import ApiError


def is_namespace_ending(error: ApiError) -> bool:
    """Whether a create was refused because its namespace is being deleted.

    Its owner goes next, so that there is nothing to report and nothing to try again.
    """
    causes = (error.details or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
