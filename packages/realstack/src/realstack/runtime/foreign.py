"""Servers that are not ours: by URL or in a container; chosen here, and kept to what this run made there.

A URL that was asked for is honoured or an error. One that only lies in the environment (``DATABASE_URL``) is a hint: it
is taken when it may be used for tests, and passed over aloud when it may not (docs/decisions/0004).
"""

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from realstack._core.clock import SYSTEM_CLOCK
from realstack.config import DEFAULT, ClickHouseConfig, PostgresConfig, RedisConfig
from realstack.errors import ForeignServerRefused, RealstackError, ServerUnreachable, ServiceUnavailable
from realstack.providers.foreign import Journal, create_foreign_database
from realstack.providers.version import Wanted
from realstack.runtime.run import Run
from realstack.runtime.service import ServiceKey
from realstack.runtime.sharing import SharedServer

if TYPE_CHECKING:
    from realstack.abc import Server

ServiceConfig = PostgresConfig | RedisConfig | ClickHouseConfig


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Attached:
    """A server to use, with the reason a hint was passed over when it is another than the hint named."""

    server: "Server | None"
    note: str = ""


def attach_by_url(run: Run, config: ServiceConfig, key: ServiceKey) -> Attached:
    """Return the server the configuration names by URL; none when it names none, or only a hint that cannot be used.

    Raises:
        ForeignServerRefused, ServerUnreachable: a URL that was asked for cannot be used.
        ServiceUnavailable: it has another version than the wanted one.
    """
    if config.url is None or "url" not in config.providers:
        return Attached(server=None)
    from realstack.providers.url import attach_url

    try:
        server = attach_url(key.service, config.url, source=_source(run, key), allow_remote=config.allow_remote)
        _check_version(server, key.version or config.version, key)
    except (ForeignServerRefused, ServerUnreachable, ServiceUnavailable) as error:
        if not config.url_is_hint:
            raise
        return Attached(server=None, note=passed_over(run, key, error))
    return Attached(server=server)


def passed_over(run: Run, key: ServiceKey, error: RealstackError) -> str:
    """Say that a URL that was only a hint is not used, and why."""
    return f"{_source(run, key)} passed over: {str(error).partition(chr(10))[0]}"


def journal_of(run: Run, service: str) -> Journal:
    """Return this process's record of what it makes elsewhere; the supervisor cleans up by it."""
    return Journal(run.folder / f"foreign-{service}-{os.getpid()}.journal", supervisor=run.supervision)


def share_attached(run: Run, server: "Server", key: ServiceKey) -> SharedServer:
    """Make a database of the run's own on *server*, and return it as the server its processes share."""
    began = SYSTEM_CLOCK.now_s()
    endpoint = create_foreign_database(
        server.endpoint,
        run=run.folder.name,
        worker="",
        journal=journal_of(run, key.label),
        source=run.config.source(f"{key.service}.url"),
    )
    return SharedServer(
        endpoint=endpoint,
        version=server.version,
        provider=server.provider,
        log=None,
        started_in_s=SYSTEM_CLOCK.now_s() - began + server.started_in_s,
        pid=None,
        facts={"anchor": endpoint.database},
    )


def or_container(run: Run, config: ServiceConfig, key: ServiceKey, local: Callable[[], "Server"]) -> "Server":
    """Return what *local* starts, or, when nothing on this machine fits and an engine answers, a container.

    Raises:
        ServiceUnavailable: neither; carries the reasons of both.
    """
    try:
        return local()
    except ServiceUnavailable as nothing_local:
        if "container" not in config.providers:
            raise
        from realstack.providers.container import start_container

        try:
            return start_container(
                key.service,
                version=key.version or config.version,
                run=run.folder.name,
                journal=journal_of(run, key.label),
                environ=run.environ,
                settings=config.settings,
            )
        except ServiceUnavailable as no_container:
            raise _both(nothing_local, no_container) from no_container


def _source(run: Run, key: ServiceKey) -> str:
    prefix = key.service if key.instance == DEFAULT else f"{key.service}.{key.instance}"
    return run.config.source(f"{prefix}.url")


def _check_version(server: "Server", version: str | None, key: ServiceKey) -> None:
    wanted = Wanted.parse(version, key=f"{key.service}.version", source="the wanted version")
    if not wanted.matches(server.version):
        raise ServiceUnavailable(
            service=key.service,
            wanted=str(wanted),
            tried=(("url", f"{server.endpoint.safe_url} has {server.version}"),),
            remedy="change the wanted version, or unset the URL to let the kit start a server of its own",
        )


def _both(one: ServiceUnavailable, other: ServiceUnavailable) -> RealstackError:
    tried = (*one.tried, *other.tried)
    return ServiceUnavailable(service=one.service, wanted=one.wanted, tried=tried, remedy=one.remedy)
