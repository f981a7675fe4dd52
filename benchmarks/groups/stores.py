"""N6, N7: isolation on Redis and ClickHouse."""

import dataclasses

from benchmarks.bench import Bench, Case
from benchmarks.figures import Table, figure
from benchmarks.groups.cases import KIT, floor_case
from benchmarks.groups.isolation import isolation_ms
from benchmarks.groups.start import clickhouse_table
from benchmarks.programs import redis_server
from benchmarks.project import Suite

_REDIS = '[tool.realstack.redis]\nproviders = ["wheel"]\n'


def measure_redis(bench: Bench) -> list[Table]:
    """Measure Redis."""
    bench.say("Redis")
    kit = Suite(name="redis", conftest="redis_reset", test="test_keys", plugins=(KIT,), realstack=_REDIS)
    peer = Suite(
        name="redis-peer",
        test="test_keys",
        conftest="redis_peer",
        plugins=("pytest_redis.plugin",),
        ini=f'redis_exec = "{redis_server()}"\n',
    )
    suites = {
        "realstack": kit,
        "realstack, new client for each test": dataclasses.replace(kit, name="redis-new", conftest="redis_fixture"),
        "FLUSHALL by hand": dataclasses.replace(peer, name="redis-hand", conftest="redis_by_hand"),
        "pytest-redis": peer,
    }
    tests = bench.pick(200, 60)
    cases = [Case(name=name, suite=suite, tests=tests, limit_s=4) for name, suite in suites.items()]
    sessions = bench.run_side_by_side([*cases, floor_case(tests)], repetitions=bench.pick(3, 1))
    figures = [
        figure(name, isolation_ms(each), ours=name.startswith("realstack"), target=0.3 if name == "realstack" else None)
        for name, each in sessions.items()
    ]
    return [Table(number="N6", title="Redis", unit="ms per test", figures=tuple(figures))]


def measure_clickhouse(bench: Bench) -> list[Table]:
    """Measure embedded ClickHouse."""
    bench.say("ClickHouse")
    suite = Suite(
        name="clickhouse",
        test="test_events",
        conftest="clickhouse_reset",
        plugins=(KIT,),
        realstack=clickhouse_table(bench),
    )
    tests = bench.pick(200, 40)
    case = Case(name="realstack", suite=suite, tests=tests, limit_s=8)
    sessions = bench.run_side_by_side([case, floor_case(tests)], repetitions=bench.pick(3, 1))
    calls = [ms for session in sessions["realstack"] for ms in session.only.call_ms]
    return [
        Table(
            number="N7",
            title="Embedded ClickHouse, one MergeTree table written to",
            unit="ms per test",
            figures=(
                figure("realstack", isolation_ms(sessions["realstack"]), ours=True, target=7.0),
                figure("the test itself: an insert and a query", calls),
                figure("pytest alone", isolation_ms(sessions["pytest alone"])),
            ),
        )
    ]
