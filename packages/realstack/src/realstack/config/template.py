"""Values of the app's environment that name services: ``{postgres.dsn}``, ``{postgres.analytics.dsn}``."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "postgres": ("dsn", "url", "host", "port", "user", "password", "database", "socket"),
    "redis": ("url", "host", "port", "user", "password", "database", "socket"),
    "clickhouse": ("url", "dsn", "host", "port", "user", "password", "database"),
    "app": ("url", "host", "port"),
}
"""What a placeholder can ask of a service."""


@dataclasses.dataclass(frozen=True, slots=True)
class Placeholder:
    """One ``{service.instance.attribute}``."""

    service: str
    instance: str
    attribute: str


def placeholders(template: str) -> tuple[Placeholder, ...]:
    """Return what *template* asks for, in its order; ``{{`` and ``}}`` are plain braces.

    Raises:
        ValueError: a placeholder that means nothing; the text says which and what would.
    """
    return tuple(_placeholder(field) for _text, field in _parts(template) if field is not None)


def fill_template(template: str, lookup: Callable[[Placeholder], str]) -> str:
    """Return *template* with each placeholder replaced by what *lookup* gives for it."""
    return "".join(text + ("" if field is None else lookup(_placeholder(field))) for text, field in _parts(template))


def _parts(template: str) -> Iterable[tuple[str, str | None]]:
    import string

    try:
        return [(text, field) for text, field, _format, _conversion in string.Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(f"a text with matching braces ({error}); write {{{{ and }}}} for plain ones") from None


def _placeholder(field: str) -> Placeholder:
    service, *rest = field.split(".")
    attributes = ATTRIBUTES.get(service, ())
    if len(rest) in (1, 2) and rest[-1] in attributes:
        return Placeholder(service, rest[0] if len(rest) == 2 else "default", rest[-1])
    known = ", ".join(f"{{{name}.{values[0]}}}" for name, values in ATTRIBUTES.items() if name != "app")
    raise ValueError(f"free of {{{field}}}, which means nothing; known are {known}, {{postgres.<instance>.dsn}} ...")
