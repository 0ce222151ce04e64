"""Amounts as Kubernetes writes them: ``500m``, ``1Gi``, ``2e3``; and numbers or percentages. Pure.

An amount has one canonical form, so that two spellings of the same amount are the same text: no
fraction, the largest suffix that leaves a whole number, of the family that the user chose.
"""

import re
from decimal import ROUND_CEILING, Decimal, localcontext
from functools import lru_cache
from typing import Any

_FORM = re.compile(
    r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_NANO = Decimal("1e-9")
_DIGITS_MAX = 60  # enough for an exact product of 2**63 and 1024**6
_TEXT_MAX = 64


class BadQuantity(ValueError):
    """The text is no amount."""


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[Decimal, str]:
    """The amount and its family: ``""``, ``i`` (powers of 1024) or ``e`` (exponents)."""
    found = _FORM.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if found is None:
        raise BadQuantity(
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    sign, digits, suffix = found.group(1), found.group(2), found.group(3) or ""
    with localcontext(prec=_DIGITS_MAX):
        number = Decimal(sign + digits)
        if suffix in _BINARY:
            return _rounded(number * 1024 ** _BINARY[suffix]), "i"
        if suffix in _DECIMAL:
            return _rounded(number.scaleb(_DECIMAL[suffix])), ""
        exponent = int(suffix[1:])
        if abs(exponent) > 18:
            raise BadQuantity(f"the exponent of {text} is out of range")
        return _rounded(number.scaleb(exponent)), "e"


def _rounded(number: Decimal) -> Decimal:
    """Kubernetes keeps nothing below a billionth, and rounds away from zero."""
    exact = abs(number).quantize(_NANO, ROUND_CEILING)
    return exact if number >= 0 else -exact


def parse(value: str | float) -> Decimal:
    """The amount. Raises BadQuantity."""
    return _read(str(value))[0]


def is_quantity(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    try:
        parse(value)
    except BadQuantity:
        return False
    return True


def compare(left: str | float, right: str | float) -> int:
    """-1, 0 or 1."""
    first, second = parse(left), parse(right)
    return (first > second) - (first < second)


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    number, family = _read(text)
    if number == 0:
        return "0"
    with localcontext(prec=_DIGITS_MAX):
        if family == "i" and abs(number) >= 1024 and number == number.to_integral_value():
            whole, power = int(number), 0
            while power < 6 and whole % 1024 == 0:
                whole, power = whole // 1024, power + 1
            suffix = next((s for s, p in _BINARY.items() if p == power), "")
            return f"{whole}{suffix}"
        exponent = 18
        while number.scaleb(-exponent) != number.scaleb(-exponent).to_integral_value():
            exponent -= 3
        whole = int(number.scaleb(-exponent))
    if family == "e":
        return f"{whole}e{exponent}" if exponent else str(whole)
    return f"{whole}{next(s for s, e in _DECIMAL.items() if e == exponent)}"


def canonical(value: str | float) -> str:
    """The one text for that amount. Raises BadQuantity."""
    return _canonical(str(value))


def scaled(value: int | str, total: int, *, round_up: bool) -> int:
    """An IntOrString as a number: ``25%`` is that part of *total*. Raises ValueError."""
    if isinstance(value, int):
        return value
    percent = value.removesuffix("%")
    if percent == value or not (percent.isascii() and percent.isdigit()):
        raise ValueError(
            f"invalid value for IntOrString: {value!r} is neither a number nor percent"
        )
    share = int(percent) * total
    return -(-share // 100) if round_up else share // 100
