"""Django and Alembic: their migrations make the template, their own test cases work on the kit's database."""

from ..fix_project import Project

DJANGO = """
[tool.realstack.postgres]
setup = "site_setup:migrate"
depends = ["shop/**/*.py", "site_settings.py"]
"""

SETTINGS = """
import os
import urllib.parse

import psycopg

where = psycopg.conninfo.conninfo_to_dict(os.environ["DATABASE_URL"]) if "DATABASE_URL" in os.environ else {}
SECRET_KEY = "x"
INSTALLED_APPS = ["shop"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": where.get("dbname"),
        "USER": where.get("user"),
        "HOST": where.get("host"),
        "PORT": where.get("port"),
        "TEST": {"NAME": where.get("dbname"), "MIGRATE": False},
    }
}
"""

SETUP = """
import os


def migrate(url):
    os.environ["DATABASE_URL"] = url
    os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
"""

MODELS = """
from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=50, unique=True)
"""

MIGRATION = """
from django.db import migrations, models


def first_product(apps, editor):
    apps.get_model("shop", "Product").objects.create(name="first")


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Product",
            [
                ("id", models.AutoField(primary_key=True, auto_created=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=50, unique=True)),
            ],
        ),
        migrations.RunPython(first_product),
    ]
"""

DJANGO_CONFTEST = """
import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def django_on_realstack(postgres_dsn):
    os.environ["DATABASE_URL"] = postgres_dsn
    os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
    import django

    django.setup()
    # opened here it lives through all tests; one that a test opened would be that test's leak
    django.db.connection.ensure_connection()
    yield
    django.db.connections.close_all()
"""


def test_django_migrates_once_and_its_own_test_cases_run_on_that(project: Project) -> None:
    project.configure(DJANGO)
    project.write(
        site_setup=SETUP,
        site_settings=SETTINGS,
        shop__models=MODELS,
        conftest=DJANGO_CONFTEST,
        test_shop="""
        import psycopg
        import pytest
        from django.db import connection, transaction
        from django.test import TestCase, TransactionTestCase


        def names():
            from shop.models import Product

            return sorted(Product.objects.values_list("name", flat=True))


        class TestRolledBack(TestCase):
            def check(self):
                from shop.models import Product

                assert names() == ["first"]
                assert Product.objects.create(name="second").id == 2

            test_one = test_two = check


        class TestCommitted(TransactionTestCase):
            # not Django's flush: the kit puts the rows of the migrations back
            def _fixture_teardown(self):
                pass

            def check(self):
                from shop.models import Product

                assert names() == ["first"]
                with transaction.atomic():
                    assert Product.objects.create(name="second").id == 2
                assert names() == ["first", "second"]

            test_one = test_two = check


        class TestFlushed(TransactionTestCase):
            def test_one(self):
                assert names() == ["first"]


        class TestAfterFlush(TestCase):
            def test_one(self):
                assert names() == ["first"]


        def test_plain(postgres_dsn):
            from shop.models import Product

            Product.objects.create(name="plain")
            with psycopg.connect(postgres_dsn) as other:
                assert other.execute("SELECT count(*) FROM shop_product").fetchone() == (2,)


        async def test_async(postgres_dsn):
            from shop.models import Product

            assert (await Product.objects.acreate(name="async")).id == 2
        """,
    )
    project.file("shop/__init__.py", "")
    project.file("shop/migrations/__init__.py", "")
    project.file("shop/migrations/0001_initial.py", MIGRATION)

    result = project.run_pytest("-p", "no:pytest_django", "-W", "default")

    result.assert_outcomes(passed=8)


ALEMBIC_ENV = """
from alembic import context
from sqlalchemy import create_engine

with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

ALEMBIC_SETUP = """
from pathlib import Path

from alembic import command
from alembic.config import Config


def migrate(url):
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("postgresql://", "postgresql+psycopg://"))
    command.upgrade(config, "head")
    with open(Path(__file__).parent / "calls.txt", "a") as calls:
        calls.write("migrated\\n")
"""

REVISION = '''
revision = "{revision}"
down_revision = {below}
branch_labels = depends_on = None

from alembic import op


def upgrade():
    op.execute("""{sql}""")
'''


def test_alembic_runs_once_for_a_state_of_its_files(project: Project) -> None:
    project.configure('[tool.realstack.postgres]\nsetup = "schema_setup:migrate"\ndepends = ["migrations/**/*.py"]\n')
    project.file("migrations/env.py", ALEMBIC_ENV)
    first = REVISION.format(revision="a1", below=None, sql="CREATE TABLE things (id serial PRIMARY KEY, name text)")
    project.file("migrations/versions/a1.py", first)
    project.write(
        schema_setup=ALEMBIC_SETUP,
        test_things="""
        import pytest

        @pytest.mark.parametrize("turn", range(2))
        async def test_columns(real_postgres, turn):
            assert await real_postgres.fetchval("SELECT version_num FROM alembic_version") == "a1"
            assert await real_postgres.fetchval("INSERT INTO things (name) VALUES ('x') RETURNING id") == 1
        """,
    )
    calls = project.folder / "calls.txt"

    project.run_pytest().assert_outcomes(passed=2)
    project.run_pytest("-n", "2").assert_outcomes(passed=2)
    assert calls.read_text().count("migrated") == 1

    second = REVISION.format(revision="b2", below="'a1'", sql="ALTER TABLE things ADD price numeric DEFAULT 1")
    project.file("migrations/versions/b2.py", second)
    project.write(
        test_things="""
        async def test_columns(real_postgres):
            assert await real_postgres.fetchval("INSERT INTO things (name) VALUES ('x') RETURNING price") == 1
        """
    )
    project.run_pytest().assert_outcomes(passed=1)
    assert calls.read_text().count("migrated") == 2
