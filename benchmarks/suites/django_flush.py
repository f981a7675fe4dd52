"""Django: what its ``TransactionTestCase`` does after each test, ``flush``."""

import sys
from urllib.parse import urlsplit

import django
import psycopg
import pytest
from django.apps import AppConfig
from django.conf import settings
from django.core.management import call_command
from django.db import models


class BenchApp(AppConfig):
    name = label = "bench"
    path = "."


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("bench_dsn", "the database")


@pytest.fixture(scope="session")
def shared(request):
    dsn = request.config.getini("bench_dsn")
    url = urlsplit(dsn)
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username}
    database = {**database, "HOST": url.hostname, "PORT": url.port}
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[BenchApp("bench", sys.modules[__name__])])
    django.setup()
    with psycopg.connect(dsn, autocommit=True) as opened:
        rows = opened.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 't\\_%'").fetchall()
        for (name,) in rows:
            _model(name)
        yield opened


def _model(table):
    meta = type("Meta", (), {"app_label": "bench", "db_table": table})
    type(table.title().replace("_", ""), (models.Model,), {"__module__": __name__, "Meta": meta})


@pytest.fixture
def connection(shared):
    yield shared
    call_command("flush", verbosity=0, interactive=False, reset_sequences=False, inhibit_post_migrate=True)
