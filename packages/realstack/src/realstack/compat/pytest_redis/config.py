"""The settings of pytest-redis: its ini names and its options, with its defaults."""

import dataclasses
from shutil import which
from typing import TYPE_CHECKING, Any

from realstack.compat._plugin import declare, is_set, option

if TYPE_CHECKING:
    import pytest

#: Name -> (kind of ini setting, default, what it is for).
_SETTINGS: dict[str, tuple[Any, Any, str]] = {
    "exec": (None, None, "not used: realstack finds its own server"),
    "host": (None, "127.0.0.1", "not used: realstack says where its server answers"),
    "port": (None, None, "not used: realstack picks a free port"),
    "port_search_count": (None, None, "not used: realstack picks a free port"),
    "username": (None, None, "user name the client logs in with"),
    "password": (None, None, "password the server asks for"),
    "timeout": (None, None, "seconds after which an idle client is disconnected"),
    "loglevel": (None, None, "Redis log verbosity level"),
    "db_count": (None, None, "number of databases"),
    "save": (None, None, "when Redis saves: seconds and keys"),
    "compression": ("bool", None, "compress what Redis saves"),
    "rdbchecksum": ("bool", None, "write a checksum into what Redis saves"),
    "syslog": ("bool", None, "log to the system logger"),
    "decode": ("bool", False, "give strings instead of bytes"),
    "datadir": (None, None, "not used: the server has a folder of its own"),
    "modules": (None, None, "comma separated paths of modules to load"),
}
#: Settings that mean nothing here, with what the original has for default.
_NOT_USED: dict[str, tuple[Any, ...]] = {
    "exec": (which("redis-server"),),
    "host": ("127.0.0.1",),
    "port": (),
    "datadir": (),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RedisConfig:
    """The settings that mean something here."""

    username: str | None
    password: str | None
    decode: bool
    #: What the original would tell the server, under the names of redis.conf.
    server: dict[str, str]
    modules: tuple[str, ...]
    #: Settings somebody made that mean nothing here.
    ignored: tuple[str, ...]


def declare_options(parser: "pytest.Parser") -> None:
    """Declare everything the original declares."""
    from contextlib import suppress

    declare(parser, prefix="redis", settings={name: each for name, each in _SETTINGS.items() if name != "decode"})
    parser.addini("redis_decode", _SETTINGS["decode"][2], type="bool", default=False)
    with suppress(ValueError):
        parser.addoption("--redis-client-decode", action="store_true", dest="redis_decode", help=_SETTINGS["decode"][2])


def get_config(request: "pytest.FixtureRequest") -> RedisConfig:
    """Return the settings of the run *request* belongs to."""
    config = request.config

    def value(name: str) -> Any:
        return option(config, f"redis_{name}")

    return RedisConfig(
        username=value("username"),
        password=value("password"),
        decode=bool(value("decode")),
        server=server_settings(
            timeout=_unless(value("timeout"), "15"),
            loglevel=_unless(value("loglevel"), "notice"),
            db_count=_unless(value("db_count"), "8"),
            save=value("save"),
            compression=value("compression") or None,
            checksum=value("rdbchecksum") or None,
            syslog=value("syslog") or None,
        ),
        modules=tuple(filter(None, (value("modules") or "").split(","))),
        ignored=tuple(
            f"redis_{name}" for name, defaults in _NOT_USED.items() if is_set(config, f"redis_{name}", defaults)
        ),
    )


def server_settings(**wanted: Any) -> dict[str, str]:
    """Return the factory's arguments as lines of redis.conf; ``None`` says nothing."""
    names = {
        "db_count": "databases",
        "compression": "rdbcompression",
        "checksum": "rdbchecksum",
        "syslog": "syslog-enabled",
    }
    flags = {True: "yes", False: "no"}
    return {
        names.get(name, name): flags[value] if isinstance(value, bool) else str(value)
        for name, value in wanted.items()
        if value is not None
    }


def _unless(value: Any, default: str) -> Any:
    """Return *value*, or ``None`` when it is the default of the original's plugin."""
    return None if str(value) == default else value
