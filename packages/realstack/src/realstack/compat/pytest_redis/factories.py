"""Fixture factories with the arguments of pytest-redis's."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from realstack._core.digest import digest_of
from realstack.compat import say_once
from realstack.compat._plugin import PluginState, async_fixture, called_from
from realstack.compat.pytest_redis.config import RedisConfig, get_config, server_settings
from realstack.compat.pytest_redis.executor import NoopRedis, RedisExecutor, Wanted
from realstack.errors import CompatRefused

if TYPE_CHECKING:
    import redis
    import redis.asyncio

__all__ = ("redis_noproc", "redis_proc", "redisdb", "redisdb_async")

_WHY = {
    "executable": "realstack finds Redis itself; `realstack doctor` says where, [tool.realstack.redis] version wants"
    " another",
    "host": "realstack's Redis is used; the fixture's host and port say where, and [tool.realstack.redis] url names a"
    " server of yours",
    "exec": "realstack finds Redis itself; `realstack doctor` says where",
    "port": "a free port is picked; the fixture's port says which",
    "datadir": "the server has a folder of its own, deleted with it",
    "startup_timeout": "[tool.realstack] start_timeout_s is what counts",
}


def redis_proc(
    executable: str | None = None,
    timeout: int | None = None,
    host: str | None = None,
    port: Any = -1,
    username: str | None = None,
    password: str | None = None,
    db_count: int | None = None,
    save: str | None = None,
    *,
    compression: bool | None = None,
    checksum: bool | None = None,
    syslog: bool | None = None,
    loglevel: str | None = None,
    datadir: str | None = None,
    modules: list[str] | None = None,
) -> Callable[..., RedisExecutor]:
    """Return a session fixture: a Redis server of this fixture's own in each test process, 10 ms to start.

    Args:
        executable: not used.
        timeout: seconds after which the server disconnects an idle client.
        host: not used.
        port: not used; anything but ``None`` and -1 is said once.
        username: who the clients log in as.
        password: what the server asks for.
        db_count: how many databases it has.
        save: when it saves: seconds and keys.
        compression: compress what it saves.
        checksum: with a checksum.
        syslog: log to the system logger.
        loglevel: ``debug``, ``verbose``, ``notice`` or ``warning``.
        datadir: not used.
        modules: paths of modules to load; one at most.
    """
    settings = server_settings(
        timeout=timeout,
        requirepass=password,
        db_count=db_count,
        save=save,
        compression=compression,
        checksum=checksum,
        syslog=syslog,
        loglevel=loglevel,
    )
    given = {"executable": executable, "host": host, "port": None if port == -1 else port, "datadir": datadir}
    return _process_fixture(called_from(), given, settings, username=username, modules=tuple(modules or ()))


def default_redis_proc() -> Callable[..., RedisExecutor]:
    """Return the fixture the original brings by itself: the server that the whole suite uses, ``real_redis`` too."""
    return _process_fixture((), {}, {}, username=None, modules=())


def redis_noproc(
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    password: str | None = None,
    startup_timeout: int = 15,
) -> Callable[..., NoopRedis]:
    """Return a session fixture: the Redis the whole suite uses, the one of ``[tool.realstack.redis] url`` if set.

    Args:
        host: not used.
        port: not used.
        username: who the clients log in as.
        password: not used: the server's own is.
        startup_timeout: not used.
    """

    @pytest.fixture(scope="session")
    def redis_noproc_fixture(request: pytest.FixtureRequest, _realstack: PluginState) -> NoopRedis:
        config = get_config(request)
        name = str(request.fixturename)
        late = None if startup_timeout == 15 else startup_timeout
        _say_what_is_passed_over(name, {"host": host, "port": port, "startup_timeout": late}, config)
        if password:
            say_once(f"{name}: password is passed over: the server's own is used, if it has one")
        wanted = Wanted(fixture=name, name=None, username=username or config.username, password=None, settings={})
        return NoopRedis(wanted, _realstack)

    return redis_noproc_fixture


def redisdb(
    process_fixture_name: str, dbnum: int = 0, *, decode: bool | None = None
) -> "Callable[..., Iterator[redis.Redis]]":
    """Return a fixture: a client of the process fixture's Redis, which is put back after the test.

    Args:
        process_fixture_name: the process fixture.
        dbnum: the database's number.
        decode: give strings instead of bytes; ``None`` takes the setting ``redis_decode``.
    """

    @pytest.fixture
    def redisdb_factory(request: pytest.FixtureRequest, _realstack: PluginState) -> "Iterator[redis.Redis]":
        arguments = _client_arguments(request, process_fixture_name, dbnum, decode=decode)
        import redis

        client = redis.Redis(**arguments)
        try:
            yield client
        finally:
            client.close()

    return redisdb_factory


def redisdb_async(
    process_fixture_name: str, dbnum: int = 0, *, decode: bool | None = None
) -> "Callable[..., AsyncIterator[redis.asyncio.Redis]]":
    """Return a fixture: the same as ``redisdb`` with redis-py's asynchronous client; needs pytest-asyncio."""

    @async_fixture("redisdb_async")
    async def redisdb_async_factory(
        request: pytest.FixtureRequest, _realstack: PluginState
    ) -> "AsyncIterator[redis.asyncio.Redis]":
        arguments = _client_arguments(request, process_fixture_name, dbnum, decode=decode)
        from redis.asyncio import Redis

        client = Redis(**arguments)
        try:
            yield client
        finally:
            await client.aclose()

    fixture: Callable[..., AsyncIterator[redis.asyncio.Redis]] = redisdb_async_factory
    return fixture


def _process_fixture(
    where: tuple[str, ...],
    given: dict[str, Any],
    settings: dict[str, str],
    *,
    username: str | None,
    modules: tuple[str, ...],
) -> Callable[..., RedisExecutor]:
    @pytest.fixture(scope="session")
    def redis_proc_fixture(request: pytest.FixtureRequest, _realstack: PluginState) -> RedisExecutor:
        config = get_config(request)
        fixture = str(request.fixturename)
        _say_what_is_passed_over(fixture, given, config)
        told = {**config.server, **({"requirepass": config.password} if config.password else {}), **settings}
        to_load = modules or config.modules
        if len(to_load) > 1:
            raise CompatRefused(
                what=f"{fixture}: modules={list(to_load)!r}",
                why="realstack starts Redis with one module at most",
                remedy="load the others in a fixture, with MODULE LOAD",
            )
        if to_load:
            told["loadmodule"] = to_load[0]
        # fixtures that ask for nothing in particular, and are not the user's own, share the suite's server
        own = f"{fixture}-{digest_of([fixture, *where], length=6)}" if where or told else None
        wanted = Wanted(
            fixture=fixture, name=own, username=username or config.username, password=config.password, settings=told
        )
        return RedisExecutor(wanted, _realstack)

    return redis_proc_fixture


def _client_arguments(
    request: pytest.FixtureRequest, process_fixture_name: str, dbnum: int, *, decode: bool | None
) -> dict[str, Any]:
    executor: RedisExecutor = request.getfixturevalue(process_fixture_name)
    endpoint = executor.endpoint
    number = int(endpoint.database or 0)
    if dbnum and executor.service.server.provider == "url":
        raise CompatRefused(
            what=f"{executor.wanted.fixture}: database {dbnum} of {endpoint.safe_url}",
            why=f"that server is not realstack's own, and this run has claimed its database {number} only",
            remedy="use database 0, which stands for the claimed one, or unset the URL to get a server of your own",
        )
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "db": dbnum or number,
        "username": executor.username,
        "password": endpoint.password,
        "unix_socket_path": endpoint.socket,
        "decode_responses": get_config(request).decode if decode is None else decode,
    }


def _say_what_is_passed_over(fixture: str, given: dict[str, Any], config: RedisConfig) -> None:
    for name, value in given.items():
        if value is not None:
            say_once(f"{fixture}: {name}={value!r} is passed over: {_WHY[name]}")
    for name in config.ignored:
        say_once(f"setting {name} is passed over: {_WHY[name.removeprefix('redis_')]}")
