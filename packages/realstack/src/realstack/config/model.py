"""The configuration as a value: one frozen object, resolved once at the start and passed down.

The fields are the settings: their names make the keys of ``[tool.realstack]``, the ``REALSTACK_*`` variables and the
names on the command line. A new setting is a new field.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realstack.config import values
from realstack.config.values import PROVIDERS, Parse

ISOLATIONS = ("reset", "clone", "transaction", "process", "auto")
DEFAULT = "default"
"""The instance of a service that has no name."""
URL_SCHEMES = {
    "postgres": ("postgresql", "postgres"),
    "redis": ("redis", "rediss", "unix"),
    "clickhouse": ("http", "https", "clickhouse", "clickhouses"),
}


# ANN401: a field takes whatever type its class declares
def setting(parse: Parse, default: Any, *, shown: bool = True) -> Any:
    """Declare a setting: how it is read, what it is when nobody says, and whether ``repr`` may show it."""
    if callable(default):
        return dataclasses.field(default_factory=default, metadata={"parse": parse}, repr=shown)
    return dataclasses.field(default=default, metadata={"parse": parse}, repr=shown)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PostgresConfig:
    """One PostgreSQL database for tests, and where its server comes from."""

    #: Tried in this order.
    providers: tuple[str, ...] = setting(values.provider_list(*PROVIDERS), PROVIDERS)
    #: ``16``, ``16.4``, ``>=15``; ``None`` takes what the providers have.
    version: str | None = setting(values.version, None)
    #: A server that runs already; only what the run makes there is written to.
    url: str | None = setting(values.url_with(*URL_SCHEMES["postgres"]), None, shown=False)
    #: The URL came from a name not meant for tests (``DATABASE_URL``): a hint that may be passed over, not a wish.
    url_is_hint: bool = False
    #: The URL may name another machine.
    allow_remote: bool = setting(values.flag, default=False)
    #: The name of the first process's database; others add a number.
    database: str = setting(values.identifier, "test")
    #: SQL files, and patterns of them, run in order to make the schema.
    schema: tuple[Path, ...] = setting(values.sql_files, ())
    #: ``package.module:callable``, called with the new database's URL.
    setup: str | None = setting(values.import_path, None)
    #: Files that decide what *setup* makes; a change in one makes a new template.
    depends: tuple[Path, ...] = setting(values.any_files, ())
    #: Files whose rows every test starts with: .sql, or .csv and .json named by table.
    seed: tuple[Path, ...] = setting(values.sql_files, ())
    #: Made with CREATE EXTENSION; a server that lacks one is not chosen.
    extensions: tuple[str, ...] = setting(values.texts, ())
    #: Server settings, as in postgresql.conf.
    settings: Mapping[str, str] = setting(values.pairs, dict, shown=False)
    #: ``None`` is the global one.
    isolation: str | None = setting(values.one_of(*ISOLATIONS), None)
    #: A named instance: a database on the default instance's server, or a server of its own.
    server: str = setting(values.one_of("shared", "own"), "shared")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RedisConfig:
    """One Redis for tests."""

    #: Tried in this order.
    providers: tuple[str, ...] = setting(
        values.provider_list("url", "binary", "wheel", "container"), ("url", "binary", "wheel", "container")
    )
    #: As for PostgreSQL.
    version: str | None = setting(values.version, None)
    #: A server that runs already; an empty database number is claimed there.
    url: str | None = setting(values.url_with(*URL_SCHEMES["redis"]), None, shown=False)
    #: See ``PostgresConfig.url_is_hint``; here ``REDIS_URL``.
    url_is_hint: bool = False
    #: The URL may name another machine.
    allow_remote: bool = setting(values.flag, default=False)
    #: Lines of redis.conf, name to value.
    settings: Mapping[str, str] = setting(values.pairs, dict, shown=False)
    #: `process` gives every test a server of its own; `None` is the global one.
    isolation: str | None = setting(values.one_of("reset", "process", "auto"), None)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ClickHouseConfig:
    """One ClickHouse database for tests."""

    #: Tried in this order; `wheel` is the embedded engine.
    providers: tuple[str, ...] = setting(
        values.provider_list("url", "binary", "wheel", "container"), ("url", "binary", "wheel", "container")
    )
    #: As for PostgreSQL.
    version: str | None = setting(values.version, None)
    #: A server that runs already; a database of the run's own is made there.
    url: str | None = setting(values.url_with(*URL_SCHEMES["clickhouse"]), None, shown=False)
    #: See ``PostgresConfig.url_is_hint``; here ``CLICKHOUSE_URL``.
    url_is_hint: bool = False
    #: The URL may name another machine.
    allow_remote: bool = setting(values.flag, default=False)
    #: The name of the first process's database; others add a number.
    database: str = setting(values.identifier, "test")
    #: SQL files, and patterns of them, run in order.
    schema: tuple[Path, ...] = setting(values.sql_files, ())
    #: SQL files that add the rows every test starts with.
    seed: tuple[Path, ...] = setting(values.sql_files, ())
    #: Settings of every session, as in a profile.
    settings: Mapping[str, str] = setting(values.pairs, dict, shown=False)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AppConfig:
    """The app under test."""

    #: ``package.module:app`` or ``package.module:factory``.
    target: str = dataclasses.field(metadata={"parse": values.import_path})
    #: ``None``: found out by looking at the target.
    factory: bool | None = setting(values.flag, None)
    #: Its environment; values may hold ``{postgres.dsn}``, ``{redis.url}``, ``{postgres.analytics.dsn}``.
    env: Mapping[str, str] = setting(values.pairs, dict, shown=False)
    #: The path asked to find out whether it answers.
    health: str = setting(values.text, "/")
    #: ``None`` is the global one.
    start_timeout_s: float | None = setting(values.seconds, None)
    #: The folder it runs in; ``None`` is the project's root.
    app_folder: Path | None = dataclasses.field(default=None, metadata={"parse": values.existing_folder})
    #: ``package.module:function``, called in the app after each test: drops caches.
    on_reset: str | None = setting(values.import_path, None)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Everything a run is told; ``sources`` says who told it."""

    root: Path
    #: False skips, and counts, every test that needs a service.
    real_services: bool = setting(values.flag, default=True)
    #: A missing service fails the test that wants it instead of skipping it.
    require_services: bool = setting(values.flag, default=False)
    #: Keep the database of a failed test, and the stack it is in, until `realstack down`.
    keep_failed: bool = setting(values.flag, default=False)
    #: After every test compare each whole service with its baseline; a difference fails the test.
    verify_isolation: bool = setting(values.flag, default=False)
    #: A stack left up by ``realstack up --detach``, by name, or the run folder of one.
    stack: str | None = setting(values.text, None)
    #: How a test gets a state of its own; a service that lacks the strategy uses `reset`.
    isolation: str = setting(values.one_of(*ISOLATIONS), "reset")
    #: Programs and prepared data, kept from run to run.
    cache_folder: Path = dataclasses.field(
        default_factory=lambda: Path("~/.cache/realstack").expanduser(), metadata={"parse": values.folder}
    )
    #: Where servers keep their data during a run; ``None``: in memory when there is room.
    data_folder: Path | None = dataclasses.field(default=None, metadata={"parse": values.existing_folder})
    #: Seconds a server may take to answer.
    start_timeout_s: float = setting(values.seconds, 30.0)
    postgres: Mapping[str, PostgresConfig] = dataclasses.field(default_factory=lambda: {DEFAULT: PostgresConfig()})
    redis: Mapping[str, RedisConfig] = dataclasses.field(default_factory=lambda: {DEFAULT: RedisConfig()})
    clickhouse: Mapping[str, ClickHouseConfig] = dataclasses.field(
        default_factory=lambda: {DEFAULT: ClickHouseConfig()}
    )
    app: AppConfig | None = None
    #: Dotted key (``postgres.version``, ``postgres.analytics.url``) to where its value was said; absent: default.
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)

    def source(self, key: str) -> str:
        """Return where the value of *key* came from: ``pyproject.toml``, a variable, an option, or ``default``."""
        return self.sources.get(key, "default")


SERVICES: Mapping[str, type[Any]] = {
    "postgres": PostgresConfig,
    "redis": RedisConfig,
    "clickhouse": ClickHouseConfig,
    "app": AppConfig,
}
NAMED_SERVICES = ("postgres", "redis", "clickhouse")
"""Services that may have instances beside the default one."""


def parsers(owner: type[Any]) -> dict[str, Parse]:
    """Return the settings of *owner* and how each is read."""
    return {field.name: field.metadata["parse"] for field in dataclasses.fields(owner) if "parse" in field.metadata}
