"""Fixtures of named instances: ``[tool.realstack.postgres.analytics]`` gives ``real_postgres_analytics`` and a URL."""

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from realstack.pytest_plugin.needs import INSTANCE_FIXTURES

if TYPE_CHECKING:
    from realstack.config import Config
    from realstack.pytest_plugin.state import State


def named_instances(config: "Config") -> dict[str, tuple[str, ...]]:
    """Return the named instances of each service."""
    return {
        service: tuple(name for name in getattr(config, service) if name != "default") for service in INSTANCE_FIXTURES
    }


def instance_fixtures(config: "Config") -> ModuleType:
    """Return a module pytest takes for a plugin: two fixtures for each named instance of *config*."""
    fixtures: dict[str, Any] = {}
    for service, names in named_instances(config).items():
        for instance in names:
            url, client = (fixture.format(instance) for fixture in INSTANCE_FIXTURES[service])
            fixtures[url] = _url_fixture(service, instance, url)
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
