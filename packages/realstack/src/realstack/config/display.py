"""The configuration as rows that may be shown: secrets masked, each value with its source."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from realstack._core.secret import mask_value
from realstack.config.model import NAMED_SERVICES, Config, parsers
from realstack.config.names import instance_key

Row = tuple[str, str, str]
"""Key, value, source."""


def render(config: Config) -> list[Row]:
    """Return every setting of *config*, secrets masked; defaults included."""
    rows = list(_rows(config, "", config))
    for service in NAMED_SERVICES:
        for instance, settings in getattr(config, service).items():
            rows += _rows(config, instance_key(service, instance, ""), settings)
    if config.app:
        rows += _rows(config, "app.", config.app)
    return rows


def _rows(config: Config, prefix: str, settings: Any) -> Iterator[Row]:
    for field in parsers(type(settings)):
        yield prefix + field, _shown(field, getattr(settings, field), config.root), config.source(prefix + field)


def _shown(name: str, value: object, root: Path) -> str:
    if value is None or value == () or value == {}:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return str(value.relative_to(root) if value.is_relative_to(root) else value)
    if isinstance(value, tuple):
        return ", ".join(_shown(name, item, root) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={mask_value(str(key), str(item))}" for key, item in value.items())
    return mask_value(name, str(value))
