"""The settings of pytest-postgresql: its ini names and its options, with its defaults."""

import dataclasses
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

from realstack.compat._plugin import declare, is_set, option

if TYPE_CHECKING:
    import pytest

DEFAULT_DBNAME = "tests"
#: Name -> (kind of ini setting, default, what it is for).
_SETTINGS: dict[str, tuple[Any, Any, str]] = {
    "exec": (None, "", "not used: realstack finds its own server"),
    "host": (None, "127.0.0.1", "not used: realstack says where its server answers"),
    "port": (None, None, "not used: realstack picks a free port"),
    "port_search_count": (None, 5, "not used: realstack picks a free port"),
    "user": (None, "postgres", "PostgreSQL user name; made as a superuser"),
    "password": (None, None, "PostgreSQL password"),
    "options": (None, "", "PostgreSQL connection options"),
    "startparams": (None, "-w", "not used: pg_ctl is not used"),
    "unixsocketdir": (None, "", "not used: the socket lies in the run's own folder"),
    "dbname": (None, DEFAULT_DBNAME, "default database name"),
    "maintenance_dbname": (None, "postgres", "database to make and drop others from"),
    "load": ("pathlist", None, "dotted or entry point path of a callable, or path of a SQL file"),
    "postgres_options": (None, "", "not used: set [tool.realstack.postgres] settings"),
    "load_autocommit": ("bool", False, "run the loader's connection with autocommit on"),
}
#: Settings that mean nothing here, with what the original has for default where that is another than ours.
_NOT_USED = {
    "exec": "/usr/lib/postgresql/14/bin/pg_ctl",
    "host": "127.0.0.1",
    "port": None,
    "port_search_count": "5",
    "startparams": "-w",
    "unixsocketdir": "",
    "postgres_options": "",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PostgreSQLConfig:
    """The settings that mean something here."""

    user: str
    password: str | None
    options: str
    dbname: str
    maintenance_dbname: str
    load: tuple[Path | str, ...]
    load_autocommit: bool
    #: Settings somebody made that mean nothing here.
    ignored: tuple[str, ...]


def declare_options(parser: "pytest.Parser") -> None:
    """Declare everything the original declares."""
    from contextlib import suppress

    declare(parser, prefix="postgresql", settings=_SETTINGS)
    with suppress(ValueError):
        parser.addoption(
            "--postgresql-drop-test-database",
            dest="postgresql_drop_test_database",
            action="store_true",
            help="not used: nothing is left of an earlier run",
        )


def get_config(request: "pytest.FixtureRequest") -> PostgreSQLConfig:
    """Return the settings of the run *request* belongs to."""
    config = request.config

    def value(name: str) -> Any:
        return option(config, f"postgresql_{name}", _SETTINGS[name][1])

    return PostgreSQLConfig(
        user=value("user"),
        password=value("password"),
        options=value("options"),
        dbname=value("dbname"),
        maintenance_dbname=value("maintenance_dbname"),
        load=tuple(_load(path) for path in value("load") or ()),
        load_autocommit=bool(value("load_autocommit")),
        ignored=tuple(
            f"postgresql_{name}"
            for name, default in _NOT_USED.items()
            if is_set(config, f"postgresql_{name}", (default, _SETTINGS[name][1], gettempdir()))
        ),
    )


def _load(path: Any) -> Path | str:
    """Return a SQL file as a path; pytest has put the folder of the ini file before the name of a callable."""
    return Path(path) if str(path).endswith(".sql") else Path(path).name
