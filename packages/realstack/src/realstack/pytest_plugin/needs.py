"""Which services a test needs: read off the fixtures it asks for, directly or through others."""

from collections.abc import Iterable, Mapping

#: Fixture -> the services it starts. ``real_services`` starts each on first use instead.
FIXTURE_SERVICES = {
    "postgres_dsn": ("postgres",),
    "real_postgres": ("postgres",),
    "database_connection": ("postgres",),
    "database_transaction": ("postgres",),
    "redis_url": ("redis",),
    "real_redis": ("redis",),
    "redis_client": ("redis",),
    "redis_manager": ("redis",),
    "clickhouse_url": ("clickhouse",),
    "real_clickhouse": ("clickhouse",),
    "clickhouse_client": ("clickhouse",),
    "real_app": ("app",),
    "real_http_client": ("app",),
    "real_websocket_client": ("app",),
    "real_services": (),
}

#: Of a named instance: the fixture with its URL and the one with a client.
INSTANCE_FIXTURES = {
    "postgres": ("postgres_{}_dsn", "real_postgres_{}"),
    "redis": ("redis_{}_url", "real_redis_{}"),
    "clickhouse": ("clickhouse_{}_url", "real_clickhouse_{}"),
}

_INSIDE = frozenset({"_realstack", "_postgres_version"})


def services_needed(fixtures: Iterable[str]) -> frozenset[str]:
    """Return the services whose default instance *fixtures* start."""
    return frozenset(service for name in fixtures for service in FIXTURE_SERVICES.get(name, ()))


class Needs:
    """The kit's fixtures in one project, those of its named instances included."""

    def __init__(self, instances: Mapping[str, Iterable[str]]) -> None:
        """Take the named *instances* of each service."""
        named = {
            fixture.format(instance): (service,)
            for service, names in instances.items()
            for instance in names
            for fixture in INSTANCE_FIXTURES[service]
        }
        self._services: Mapping[str, tuple[str, ...]] = {**FIXTURE_SERVICES, **named}

    def services(self, fixtures: Iterable[str]) -> frozenset[str]:
        """Return the services that *fixtures* start."""
        return frozenset(service for name in fixtures for service in self._services.get(name, ()))

    def is_real_services_test(self, fixtures: Iterable[str]) -> bool:
        """True when any of *fixtures* is one of the kit's."""
        return any(self.is_own(name) for name in fixtures)

    def is_own(self, fixture: str) -> bool:
        """True for a fixture of the kit: what it does is no state of the tests'."""
        return fixture in self._services or fixture in _INSIDE
