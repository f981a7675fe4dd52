"""What the process fixtures give: where Redis is, under the names of pytest-redis's executors."""

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from realstack.compat._plugin import PluginState
    from realstack.runtime.redis import RedisService
    from realstack.services.endpoint import Endpoint

__all__ = ("NoopRedis", "RedisExecutor")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a process fixture was asked for."""

    fixture: str
    #: What a server of its own is told apart by; ``None``: the one the whole suite uses.
    name: str | None
    username: str | None
    password: str | None
    settings: "Mapping[str, str]"


class RedisExecutor:
    """A Redis of the kit's as a process fixture shows it; started when one of its facts is asked for."""

    def __init__(self, wanted: Wanted, state: "PluginState") -> None:
        """Remember what is wanted; nothing is started."""
        self.wanted, self._state = wanted, state
        self._instance: str | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.wanted.fixture!r} on realstack's Redis>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"{self.wanted.fixture}.{name}: realstack starts and ends this server, so a process fixture has no"
            f" {name!r}; it has host, port, username, password, unixsocket, version and running()"
        )

    @property
    def host(self) -> str:
        """The address the server answers at."""
        return self.endpoint.host

    @property
    def port(self) -> int:
        """The port the server answers at."""
        return self.endpoint.port

    @property
    def unixsocket(self) -> str | None:
        """The server's socket; ``None`` when the server is not ours."""
        return self.endpoint.socket

    @property
    def username(self) -> str | None:
        """The user to log in as."""
        return self.wanted.username or self.endpoint.user

    @property
    def password(self) -> str | None:
        """The password the server asks for."""
        return self.endpoint.password

    @property
    def version(self) -> Any:
        """The server's version, as ``packaging.version.Version``."""
        from packaging.version import parse

        return parse(self.service.server.version)

    def running(self) -> bool:
        """Tell whether the server lives."""
        return self.service.server.is_alive()

    @property
    def service(self) -> "RedisService":
        """The kit's service behind it, started."""
        from realstack.runtime.redis import RedisService

        self._state.check_wanted()
        service = self._state.provide("redis", instance=self._known_instance())
        assert isinstance(service, RedisService)  # noqa: S101  the name decides the class
        return service

    @property
    def endpoint(self) -> "Endpoint":
        """Where the present test reaches it."""
        return self.service.endpoint

    def _known_instance(self) -> str:
        if self._instance is None:
            from realstack.config import DEFAULT
            from realstack.runtime.extra_database import add_redis

            name = self.wanted.name
            key = add_redis(self._state.stack, name, settings=self.wanted.settings) if name else None
            self._instance = key.instance if key else DEFAULT
        return self._instance


class NoopRedis(RedisExecutor):
    """The same; the original's is a server that somebody else started."""
