"""What a name, a label and an annotation may look like, with Kubernetes' words for refusal. Pure.

Each function returns the reasons to refuse; none means the text is good.
"""

import re

_LABEL_1123 = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL_1123}(\.{_LABEL_1123})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_PORT_NAME = "[-a-z0-9]+"
_ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_COMPILED = {
    pattern: re.compile(pattern)
    for pattern in (
        _LABEL_1123, _SUBDOMAIN, _LABEL_1035, _QUALIFIED, _LABEL_VALUE, _PORT_NAME, _ENV_NAME,
        _CONFIG_KEY,
    )
}  # fmt: skip


def _matches(pattern: str, text: str) -> bool:
    return _COMPILED[pattern].fullmatch(text) is not None


def _pattern_error(text: str, pattern: str, *examples: str) -> str:
    listed = "".join(
        f"{' or ' if position else ''}'{example}', " for position, example in enumerate(examples)
    )
    return f"{text} (e.g. {listed}regex used for validation is '{pattern}')"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def subdomain(text: str) -> list[str]:
    """RFC 1123 subdomain, what most objects are named by."""
    errors = [_too_long(253)] if len(text) > 253 else []
    if not _matches(_SUBDOMAIN, text):
        errors.append(
            _pattern_error(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                "characters, '-' or '.', and must start and end with an alphanumeric character",
                _SUBDOMAIN,
                "example.com",
            )
        )
    return errors


def label(text: str) -> list[str]:
    """RFC 1123 label: namespaces, containers, volumes."""
    errors = [_too_long(63)] if len(text) > 63 else []
    if not _matches(_LABEL_1123, text):
        errors.append(
            _pattern_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
                "'-', and must start and end with an alphanumeric character",
                _LABEL_1123,
                "my-name",
                "123-abc",
            )
        )
    return errors


def label1035(text: str) -> list[str]:
    """RFC 1035 label: Services."""
    errors = [_too_long(63)] if len(text) > 63 else []
    if not _matches(_LABEL_1035, text):
        errors.append(
            _pattern_error(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
                "with an alphabetic character, and end with an alphanumeric character",
                _LABEL_1035,
                "my-name",
                "abc-123",
            )
        )
    return errors


def path_segment(text: str) -> list[str]:
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{sign}'" for sign in ("/", "%") if sign in text]


def qualified_name(text: str) -> list[str]:
    """``[prefix/]name``: label keys, annotation keys, finalizers."""
    errors: list[str] = []
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return [
            _pattern_error(
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character",
                _QUALIFIED,
                "MyName",
                "my.name",
                "123-abc",
            ).replace(
                f"regex used for validation is '{_QUALIFIED}')",
                f"regex used for validation is '{_QUALIFIED}')"
                " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            )
        ]
    if slash and not prefix:
        errors.append("prefix part must be non-empty")
    elif slash:
        errors += [f"prefix part {error}" for error in subdomain(prefix)]
    if not name:
        errors.append("name part must be non-empty")
    elif len(name) > 63:
        errors.append(f"name part {_too_long(63)}")
    if not _matches(_QUALIFIED, name):
        errors.append(
            _pattern_error(
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must "
                "start and end with an alphanumeric character",
                _QUALIFIED,
                "MyName",
                "my.name",
                "123-abc",
            )
        )
    return errors


def label_value(text: str) -> list[str]:
    errors = [_too_long(63)] if len(text) > 63 else []
    if not _matches(_LABEL_VALUE, text):
        errors.append(
            _pattern_error(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', "
                "'_' or '.', and must start and end with an alphanumeric character",
                _LABEL_VALUE,
                "MyValue",
                "my_value",
                "12345",
            )
        )
    return errors


def port_name(text: str) -> list[str]:
    """IANA service name: named container ports."""
    errors = []
    if len(text) > 15:
        errors.append("must be no more than 15 characters")
    if not _matches(_PORT_NAME, text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any(char.isalpha() for char in text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def environment_name(text: str) -> list[str]:
    """What may name an environment variable of a container: any printable text without ``=``."""
    if not text:
        return ["environment variable name must not be empty"]
    if all(" " <= char <= "~" and char != "=" for char in text):
        return []
    text = "a valid environment variable name must consist only of printable ASCII characters "
    return [text + "other than '='"]


def config_key(text: str) -> list[str]:
    """A key of a ConfigMap or a Secret; it becomes a file name."""
    errors = [_too_long(253)] if len(text) > 253 else []
    if not _matches(_CONFIG_KEY, text):
        errors.append(
            _pattern_error(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                _CONFIG_KEY,
                "key.name",
                "KEY_NAME",
                "key-name",
            )
        )
    elif text in (".", ".."):
        errors.append(f"must not be '{text}'")
    elif text.startswith(".."):
        errors.append("must not start with '..'")
    return errors
