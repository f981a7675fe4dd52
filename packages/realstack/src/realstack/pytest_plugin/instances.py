"""Fixtures of named instances: ``[tool.realstack.postgres.analytics]`` gives ``real_postgres_analytics`` and a URL."""

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from realstack.config import Config
    from realstack.pytest_plugin.state import State

_URL_FIXTURES = {"postgres": "postgres_{}_dsn", "redis": "redis_{}_url", "clickhouse": "clickhouse_{}_url"}
_CLIENT_FIXTURES = {"postgres": "real_postgres_{}", "redis": "real_redis_{}", "clickhouse": "real_clickhouse_{}"}


def instance_fixtures(config: "Config") -> ModuleType:
    """Return a module pytest takes for a plugin: two fixtures for each named instance of *config*."""
    fixtures: dict[str, Any] = {}
    for service, url_name in _URL_FIXTURES.items():
        for instance in getattr(config, service):
            if instance != "default":
                fixtures[url_name.format(instance)] = _url_fixture(service, instance, url_name.format(instance))
                client = _CLIENT_FIXTURES[service].format(instance)
                fixtures[client] = _client_fixture(service, instance, client)
    module = ModuleType("realstack_instances")
    vars(module).update(fixtures)
    return module


def _url_fixture(service: str, instance: str, name: str) -> Any:
    @pytest.fixture(scope="session", name=name)
    def url(_realstack: "State") -> str:
        return _realstack.provide(service, instance=instance).endpoint.url

    return url


def _client_fixture(service: str, instance: str, name: str) -> Any:
    @pytest.fixture(name=name)
    def client(_realstack: "State") -> Iterator[Any]:
        with _realstack.client(service, instance=instance) as opened:
            yield opened

    return client
