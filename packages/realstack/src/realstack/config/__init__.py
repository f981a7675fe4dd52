"""Configuration: ``[tool.realstack]`` < ``.env.test`` < environment < command line, resolved once into one value.

Nothing below this package and nothing above it reads the environment; everything is handed the ``Config``.
"""

import os
from collections.abc import Mapping

from realstack.config.display import render
from realstack.config.model import (
    DEFAULT,
    ISOLATIONS,
    NAMED_SERVICES,
    SERVICES,
    AppConfig,
    ClickHouseConfig,
    Config,
    PostgresConfig,
    RedisConfig,
)
from realstack.config.project import find_root
from realstack.config.resolution import resolve, with_changes
from realstack.config.template import Placeholder, fill_template, placeholders

__all__ = (
    "DEFAULT",
    "ISOLATIONS",
    "NAMED_SERVICES",
    "SERVICES",
    "AppConfig",
    "ClickHouseConfig",
    "Config",
    "Placeholder",
    "PostgresConfig",
    "RedisConfig",
    "fill_template",
    "find_root",
    "placeholders",
    "read_environment",
    "render",
    "resolve",
    "with_changes",
)


def read_environment() -> Mapping[str, str]:
    """Return a copy of the process's environment; the one place of the kit that looks at it."""
    # this is the place the ban on os.environ points to
    return dict(os.environ)  # noqa: TID251
