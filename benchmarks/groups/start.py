"""N1, N7, N8: from the start of the pytest process to the first answer of a service."""

import dataclasses
from collections.abc import Sequence

from benchmarks.bench import Bench, Case, nonce
from benchmarks.figures import Figure, Table, figure
from benchmarks.groups.cases import KIT, POSTGRES, floor_case, kit_suite, peer_suite
from benchmarks.project import Suite, chain_schema
from benchmarks.session import Session

_TABLES = 20
CLICKHOUSE_SCHEMA = "CREATE TABLE events (id UInt64, name String) ENGINE = MergeTree ORDER BY id;\n"


def measure_postgres(bench: Bench) -> list[Table]:
    """Measure PostgreSQL alone."""
    bench.say("start: PostgreSQL")
    memory = kit_suite("first", "", tables=_TABLES, test="test_first")
    disk = dataclasses.replace(
        memory,
        name="first-disk",
        realstack=memory.realstack.replace("[tool.realstack]\n", f'[tool.realstack]\ndata_folder = "{bench.disk}"\n'),
    )
    peer = peer_suite(_TABLES, name="first-peer", test="test_first_peer", conftest="")
    cases = [
        Case(name="realstack, second run", suite=memory),
        Case(name="realstack, new schema", suite=memory, fresh=lambda: _new_schema(memory)),
        Case(name="realstack, nothing cached", suite=memory, cache="empty"),
        Case(name="pytest-postgresql", suite=peer, as_user=True),
        Case(name="realstack, second run, on disk", suite=disk),
        Case(name="realstack, new schema, on disk", suite=disk, fresh=lambda: _new_schema(disk)),
        Case(name="pytest-postgresql, on disk", suite=peer, as_user=True, disk=True),
        floor_case(1),
    ]
    sessions = bench.run_side_by_side(cases, repetitions=bench.pick(5, 1))
    targets = {
        "realstack, second run": 0.20,
        "realstack, new schema": 0.35,
        "realstack, second run, on disk": 0.20,
        "realstack, new schema, on disk": 0.50,
    }
    figures = [_until(name, each, "ready", targets.get(name)) for name, each in sessions.items()]
    figures.insert(
        1, _until("realstack, second run, psycopg imported too", sessions["realstack, second run"], "psycopg")
    )
    return [
        Table(
            number="N1",
            title=f"From the start of pytest to PostgreSQL's first answer, {_TABLES} tables",
            unit="s",
            figures=tuple(figures),
            explanation=(
                "Data in memory (/dev/shm) unless it says on disk; the kit's cache is on the disk in all cases. New "
                "schema: a cluster is cached, the schema is new. Nothing cached: initdb too. The kit's client is its "
                "own, since psycopg's import alone costs 0.1 s; pytest-postgresql imports psycopg anyway."
            ),
        )
    ]


def _new_schema(suite: Suite) -> Suite:
    return dataclasses.replace(suite, schema=chain_schema(_TABLES, nonce=nonce()))


def measure_others(bench: Bench) -> list[Table]:
    """Measure three services at once, ClickHouse, the app."""
    bench.say("start: other services")
    three = Suite(
        name="three", test="test_first_three", plugins=(KIT,), realstack=_three(bench), schema=chain_schema(_TABLES)
    )
    clickhouse = Suite(
        name="first-clickhouse", test="test_first_clickhouse", plugins=(KIT,), realstack=clickhouse_table(bench)
    )
    app = Suite(
        name="app",
        test="test_app",
        plugins=(KIT,),
        realstack='[tool.realstack.app]\ntarget = "bench_app:app"\n',
        app=True,
    )
    cases = [
        Case(name="realstack, PostgreSQL + Redis + ClickHouse, cached", suite=three),
        Case(name="realstack, ClickHouse alone", suite=clickhouse),
        Case(name="realstack, app", suite=app),
    ]
    sessions = bench.run_side_by_side(cases, repetitions=bench.pick(5, 1))
    after_import = [each.only.samples["after_import"][0] for each in sessions["realstack, app"]]
    return [
        Table(
            number="N1, N7, N8",
            title="From the start of pytest to the first answer of other services",
            unit="s",
            figures=(
                _until(cases[0].name, sessions[cases[0].name], "ready", 1.0),
                _until(cases[1].name, sessions[cases[1].name], "ready", 1.0),
                _until("realstack, a FastAPI app", sessions["realstack, app"], "answered"),
                figure(
                    "realstack, a FastAPI app, from the end of its own import", after_import, ours=True, target=0.020
                ),
            ),
        )
    ]


def clickhouse_table(bench: Bench) -> str:
    """Return the kit's configuration of ClickHouse with one table."""
    file = bench.memory / "clickhouse.sql"
    file.write_text(CLICKHOUSE_SCHEMA)
    return f'[tool.realstack.clickhouse]\nproviders = ["wheel"]\nschema = ["{file}"]\n'


def _three(bench: Bench) -> str:
    return f'{POSTGRES}[tool.realstack.redis]\nproviders = ["wheel"]\n{clickhouse_table(bench)}'


def _until(name: str, sessions: Sequence[Session], mark: str, target: float | None = None) -> Figure:
    values = [session.since_spawn_s(mark) for session in sessions]
    return figure(name, values, ours=name.startswith("realstack"), target=target)
