"""``RedisContainer`` and ``AsyncRedisContainer``: a Redis server of its own, 10 ms after ``start``."""

from typing import TYPE_CHECKING, Any, Final

from realstack.compat.testcontainers._container import Container
from realstack.compat.testcontainers._image import wanted_version
from realstack.errors import CompatRefused

if TYPE_CHECKING:
    import redis
    import redis.asyncio

    from realstack.services.redis.server import RedisServer

__all__ = ("AsyncRedisContainer", "RedisContainer")

_IMAGES: Final = {"redis": "plain", "bitnami/redis": "plain"}


class RedisContainer(Container):
    """Redis as ``testcontainers.redis.RedisContainer`` gives it."""

    service = "redis"

    def __init__(
        self, image: str = "redis:latest", port: int = 6379, password: str | None = None, **kwargs: Any
    ) -> None:
        """Say what is wanted; nothing is started.

        Args:
            image: ``redis:7`` wants version 7.
            port: what the container's port is called; ``get_exposed_port`` says where it is.
            password: what the server asks for.
            kwargs: of ``DockerContainer``.
        """
        super().__init__(image, port=port, **kwargs)
        self.password = password

    def get_client(self, **kwargs: Any) -> "redis.Redis":
        """Return a client of the server; *kwargs* are ``redis.Redis``'s."""
        import redis

        return redis.Redis(**self._place(), **kwargs)

    def _place(self) -> dict[str, Any]:
        port = self.get_exposed_port(self.port)
        return {"host": self.get_container_host_ip(), "port": port, "password": self.password}

    def _start(self) -> "RedisServer":
        from realstack.compat.testcontainers._run import next_name, own_run
        from realstack.config import DEFAULT
        from realstack.providers.choice import find_installation
        from realstack.services.redis.server import start_redis

        settings = self._settings()
        self._refuse_what_cannot_be_had()
        run = own_run()
        installation = find_installation(
            "redis",
            providers=run.config.redis[DEFAULT].providers,
            version=wanted_version(self.image, _IMAGES),
            cache=run.config.cache_folder,
            path=run.environ.get("PATH", ""),
        )
        return start_redis(
            installation,
            folder=run.folder / next_name("redis"),
            supervisor=run.supervision,
            settings=settings,
            timeout_s=run.config.start_timeout_s,
        )

    def _settings(self) -> dict[str, str]:
        """Return the settings in the command: ``redis-server --maxmemory 10mb``."""
        settings: dict[str, str] = {}
        name = ""
        for word in self._command_words():
            if word.startswith("--"):
                name = word.removeprefix("--")
                settings[name] = ""
            elif name:
                settings[name] = f"{settings[name]} {word}".strip()
            else:
                raise self._refused_word(word, "write settings as --name value")
        return {**settings, **({"requirepass": self.password} if self.password else {})}

    def _refuse_what_cannot_be_had(self) -> None:
        for host, inside in self.volumes:
            raise self._refuse_volume(host, inside, "give settings in the command: redis-server --name value")
        if bound := self.ports.get(self.port):
            raise CompatRefused(
                what=f"port {bound} of this machine for {type(self).__name__}",
                why="realstack picks a free port for each Redis",
                remedy=f"ask for get_exposed_port({self.port})",
            )


class AsyncRedisContainer(RedisContainer):
    """The same with an asynchronous client, too."""

    def __init__(
        self, image: str = "redis:latest", port_to_expose: int = 6379, password: str | None = None, **kwargs: Any
    ) -> None:
        """Say what is wanted; the arguments are ``RedisContainer``'s."""
        super().__init__(image, port_to_expose, password, **kwargs)

    async def get_async_client(self, **kwargs: Any) -> "redis.asyncio.Redis":
        """Return an asynchronous client of the server; *kwargs* are ``redis.asyncio.Redis``'s."""
        from redis.asyncio import Redis

        client: redis.asyncio.Redis = await Redis(**self._place(), **kwargs)
        return client
