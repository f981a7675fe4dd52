"""Kinds of tests by name, each a marker expression for pytest."""

import dataclasses
from collections.abc import Iterable

from realstack.errors import ConfigInvalid


@dataclasses.dataclass(frozen=True, slots=True)
class Category:
    """One kind of tests."""

    name: str
    #: What ``pytest -m`` selects it with.
    expression: str
    about: str


CATEGORIES = (
    Category("unit", "unit", "marked unit"),
    Category("integration", "integration", "marked integration"),
    Category("e2e", "e2e", "marked e2e"),
    Category("real_services", "real_services", "everything that asks for a real service, found by its fixtures"),
    Category("database", "database or postgres", "marked database or postgres"),
    Category("redis", "redis", "marked redis"),
    Category("clickhouse", "clickhouse", "marked clickhouse"),
    Category("websocket", "websocket", "marked websocket"),
    Category("api", "http", "marked http"),
    Category("auth", "auth_service", "marked auth_service"),
    Category("llm", "llm or openai or anthropic", "marked llm, openai or anthropic"),
    Category("concurrent", "concurrent", "marked concurrent"),
    Category("slow", "slow", "marked slow"),
    Category("all", "", "every test there is"),
)


def find_categories(names: Iterable[str]) -> tuple[Category, ...]:
    """Return the categories with *names*, each once.

    Raises:
        ConfigInvalid: there is none of a name.
    """
    known = {category.name: category for category in CATEGORIES}
    found = []
    for name in dict.fromkeys(names):
        if name not in known:
            raise ConfigInvalid(
                key="--category", value=repr(name), source="the command line", wanted="one of " + ", ".join(known)
            )
        found.append(known[name])
    return tuple(found)


def expression_of(categories: Iterable[Category], markers: str | None) -> str:
    """Return the marker expression that selects any of *categories*, narrowed by *markers*."""
    either = [category.expression for category in categories]
    parts = [] if "" in either else either
    if len(parts) > 1:
        parts = [" or ".join(f"({part})" for part in parts)]
    if markers:
        parts = [*parts, markers]
    return " and ".join(f"({part})" for part in parts) if len(parts) > 1 else "".join(parts)
