"""Compiles and runs CEL expressions, within bounds. Pure.

The interpreter is a Rust library, found on first use: who writes no rules never loads it. Only its
extension module is loaded, since its package also brings a command line tool of 25 MB.

An expression cannot be stopped once it runs. So its cost is bounded before: by its length, and by
the size of what it looks at to the power of how deep its loops stand in each other.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

from motorpool.api.cel.functions import FUNCTIONS

EXPRESSION_LENGTH_MAX = 16_384
EXPRESSIONS_REMEMBERED_MAX = 2048
RUN_COST_MAX = 200_000  # steps of some 2.5 µs

_LOOP = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_TEXT = re.compile(r"""r?("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_TYPES = frozenset(
    ("bool", "bytes", "double", "duration", "dyn", "int", "list", "map", "null_type", "optional",
     "string", "timestamp", "type", "uint")
)  # fmt: skip
_BUILT_IN = frozenset(
    [
        "bool",
        "bytes",
        "contains",
        "double",
        "duration",
        "dyn",
        "endsWith",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getFullYear",
        "getHours",
        "getMilliseconds",
        "getMinutes",
        "getMonth",
        "getSeconds",
        "has",
        "hasValue",
        "in",
        "int",
        "list",
        "map",
        "matches",
        "max",
        "min",
        "none",
        "of",
        "ofNonZeroValue",
        "or",
        "orValue",
        "size",
        "startsWith",
        "string",
        "timestamp",
        "type",
        "uint",
        "value",
    ]
)


class BadExpression(ValueError):
    """The text is no expression that can be run here."""


class RunFailed(ValueError):
    """The expression has no value for what it was given."""


class Expression:
    """One compiled expression; *loops* is how deep its loops stand in each other."""

    def __init__(self, source: str, program: Any) -> None:
        self.source = source
        self.uses_old = "oldSelf" in program.variables()
        self.loops = _loops(source)
        self._program = program

    def run(self, variables: Mapping[str, Any]) -> Any:
        """Raises RunFailed."""
        context = _context()
        for name, value in variables.items():
            context.add_variable(name, value)
        try:
            return self._program.execute(context)
        except KeyError as error:
            raise RunFailed(f"no such key: {error.args[0]}") from error
        except (ValueError, TypeError, RuntimeError, IndexError, OverflowError) as error:
            raise RunFailed(str(error)) from error

    def cost(self, size: int) -> int:
        """The steps that it may take over values of that size, at most."""
        return int(max(size, self.source.count(",")) ** self.loops) if self.loops else 1


@lru_cache(maxsize=EXPRESSIONS_REMEMBERED_MAX)
def compiled(source: str) -> Expression:
    """Raises BadExpression."""
    if len(source) > EXPRESSION_LENGTH_MAX:
        raise BadExpression(f"an expression has at most {EXPRESSION_LENGTH_MAX} characters")
    try:
        program = _library().compile(source)
    except (ValueError, RuntimeError) as error:
        raise BadExpression(str(error)) from error
    _check_names(source, program)
    return Expression(source, program)


def _check_names(source: str, program: Any) -> None:
    own = {found[1] for found in _LOOP.findall(source)}
    _check(program.variables(), {"self", "oldSelf"} | own | _TYPES)
    _check(program.functions(), FUNCTIONS.keys() | _BUILT_IN)


def _check(names: Iterable[str], known: Iterable[str]) -> None:
    allowed = set(known)
    for name in sorted(names):
        if name.isidentifier() and name not in allowed:
            raise BadExpression(f"undeclared reference to '{name}' (in container '')")


def _loops(source: str) -> int:
    """How deep the loops of the expression stand in each other."""
    text = _TEXT.sub(lambda found: "_" * len(found[0]), source)
    heads = {found.start() + found[0].index("(") for found in _LOOP.finditer(text)}
    deepest, open_ = 0, [False]
    for position, sign in enumerate(text):
        if sign == "(":
            open_.append(position in heads)
            deepest = max(deepest, sum(open_))
        elif sign == ")" and len(open_) > 1:
            open_.pop()
    return deepest


@cache
def _library() -> Any:
    import importlib.util
    from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder

    package = importlib.util.find_spec("cel")
    places = (package.submodule_search_locations if package is not None else None) or ()
    for place in places:
        found = FileFinder(place, (ExtensionFileLoader, EXTENSION_SUFFIXES)).find_spec("cel")
        if found is not None and found.loader is not None:
            module = importlib.util.module_from_spec(found)
            found.loader.exec_module(module)
            return module
    raise ModuleNotFoundError("common-expression-language is not installed", name="cel")


@cache
def _context() -> Any:
    context = _library().Context()
    for name, function in FUNCTIONS.items():
        context.add_function(name, function)
    return context


def optional(value: Any, *, is_there: bool) -> Any:
    """An optional value, as ``oldSelf`` of rules that ask for one."""
    kind = _library().OptionalValue
    return kind.of(value) if is_there else kind.none()
