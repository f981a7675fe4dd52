"""The suites on PostgreSQL, for whichever group measures them."""

from benchmarks.bench import Bench, Case
from benchmarks.programs import postgres_folder
from benchmarks.project import Suite, chain_schema

KIT = "realstack.pytest_plugin"
POSTGRES = '[tool.realstack.postgres]\nproviders = ["wheel"]\nversion = "18"\nschema = ["schema.sql"]\n'
_LOOP = """asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"
"""


def kit_suite(
    name: str, conftest: str, *, tables: int, isolation: str = "reset", test: str = "test_rows", rows: int = 0
) -> Suite:
    """Return a suite of the kit on a chain of *tables* tables."""
    return Suite(
        name=f"{name}-{tables}",
        test=test,
        conftest=conftest,
        plugins=(KIT,),
        realstack=f'[tool.realstack]\nisolation = "{isolation}"\n{POSTGRES}',
        schema=chain_schema(tables, rows=rows),
    )


def peer_suite(
    tables: int, *, name: str = "peer", test: str = "test_rows", conftest: str = "pytest_postgresql"
) -> Suite:
    """Return a suite of pytest-postgresql."""
    ini = f'postgresql_exec = "{postgres_folder() / "pg_ctl"}"\npostgresql_load = ["schema.sql"]\n'
    return Suite(
        name=f"{name}-{tables}",
        test=test,
        conftest=conftest,
        plugins=("pytest_postgresql.plugin",),
        ini=ini,
        schema=chain_schema(tables),
    )


def hand_suite(bench: Bench, conftest: str, *, tables: int, rows: int = 0, test: str = "test_rows") -> Suite:
    """Return a suite with a fixture written by hand."""
    # each has a database of its own: none finds what another left
    name = f"{conftest}_{tables}_{rows}"
    ini = f'bench_dsn = "{bench.by_hand.database(name, chain_schema(tables, rows=rows))}"\n'
    return Suite(name=f"hand-{name}", test=test, conftest=conftest, ini=ini)


def asynchronous(suite: Suite) -> Suite:
    """Return *suite* with the test on asyncpg, in one event loop for the session."""
    import dataclasses

    plugins = ("pytest_asyncio.plugin", *suite.plugins)
    return dataclasses.replace(suite, test="test_rows_async", plugins=plugins, ini=suite.ini + _LOOP)


def floor_case(tests: int, *arguments: str, plugins: tuple[str, ...] = ()) -> Case:
    """Return pytest with a test that does nothing."""
    return Case(
        name="pytest alone",
        suite=Suite(name="floor", test="test_nothing", plugins=plugins),
        tests=tests,
        arguments=arguments,
    )
