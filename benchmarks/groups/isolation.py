"""N2, N3, N4: what a state of its own costs a test on PostgreSQL, at 20, 200 and 500 tables."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.bench import Bench, Case
from benchmarks.figures import Figure, Table, figure
from benchmarks.groups.cases import asynchronous, floor_case, hand_suite, kit_suite, peer_suite
from benchmarks.session import Session

_EXPLANATION = (
    "Setup and teardown of each test together, whatever plugins and fixtures do in them; the first and the last test "
    "of a session are left out. Each test inserts a row with a unique value, commits, and counts the rows; "
    "the column *whole test* has that in it."
)


def measure_sizes(bench: Bench) -> list[Table]:
    """Measure schemas of all sizes."""
    tables = []
    for size in (20,) if bench.quick else (20, 200, 500):
        bench.say(f"isolation at {size} tables")
        tables += _measure_size(bench, size)
    return tables


def isolation_ms(sessions: Iterable[Session]) -> list[float]:
    """Return every counted test's isolation of all *sessions* and their workers."""
    return [ms for session in sessions for worker in session.workers for ms in worker.isolation_ms]


def whole_ms(sessions: Iterable[Session]) -> list[float]:
    """Return every counted test's setup, body and teardown together."""
    return [ms for session in sessions for worker in session.workers for ms in worker.whole_ms]


def _measure_size(bench: Bench, size: int) -> list[Table]:
    tests, few = bench.pick(200, 40), bench.pick(60, 14)
    slow_s = bench.pick(3, 1)
    kit = [
        Case(name="realstack reset", suite=kit_suite("reset", "reset", tables=size), tests=tests),
        Case(
            name="realstack transaction",
            suite=asynchronous(kit_suite("transaction", "transaction", tables=size)),
            tests=tests,
        ),
        Case(
            name="realstack clone, tests back to back",
            suite=kit_suite("clone", "clone", tables=size, isolation="clone"),
            tests=tests,
            limit_s=slow_s,
        ),
        Case(
            name="realstack clone, tests of 60 ms",
            suite=kit_suite("clone-busy", "clone_busy", tables=size, isolation="clone"),
            tests=few,
            limit_s=slow_s,
        ),
    ]
    hand = {
        "rollback by hand": hand_suite(bench, "rollback", tables=size),
        "rollback by hand, asyncpg": asynchronous(hand_suite(bench, "rollback_async", tables=size)),
        "DELETE from all tables by hand": hand_suite(bench, "delete_all", tables=size),
        "TRUNCATE of all tables by hand": hand_suite(bench, "truncate", tables=size),
        "Django flush": hand_suite(bench, "django_flush", tables=size),
    }
    peers = [Case(name=name, suite=suite, tests=tests, limit_s=slow_s) for name, suite in hand.items()]
    peers.append(Case(name="pytest-postgresql", suite=peer_suite(size), tests=tests, limit_s=slow_s, as_user=True))
    sessions = bench.run_side_by_side([*kit, *peers, floor_case(tests)], repetitions=bench.pick(3, 1))
    return [_shared_table(size, sessions), _own_table(size, sessions)]


def _shared_table(size: int, sessions: Mapping[str, Sequence[Session]]) -> Table:
    names = [name for name in sessions if "clone" not in name and name != "pytest-postgresql"]
    targets = {"realstack reset": (0.5, 1.0), "realstack transaction": (0.5, None)}
    figures = [_figure(name, sessions[name], *targets.get(name, (None, None))) for name in names]
    return Table(
        number="N2, N3",
        title=f"One database for all tests, {size} tables",
        unit="ms per test",
        figures=tuple(figures),
        explanation=_EXPLANATION,
    )


def _own_table(size: int, sessions: Mapping[str, Sequence[Session]]) -> Table:
    figures: list[Figure] = []
    for name, target in (("realstack clone, tests of 60 ms", 5.0), ("realstack clone, tests back to back", 20.0)):
        figures.append(_figure(name, sessions[name]))
        rest = _without_connect(sessions[name])
        figures.append(figure(f"{name}, without psycopg's connect", rest, ours=True, target=target))
    figures.append(_figure("pytest-postgresql", sessions["pytest-postgresql"]))
    return Table(
        number="N4",
        title=f"A database for each test, {size} tables",
        unit="ms per test",
        figures=tuple(figures),
        explanation="Each test connects to its new database; that is in every figure that does not say otherwise.",
    )


def _without_connect(sessions: Iterable[Session]) -> list[float]:
    values: list[float] = []
    for session in sessions:
        connects = session.only.samples["connect"][1:]
        values += [ms - connect * 1000 for ms, connect in zip(session.only.isolation_ms, connects, strict=False)]
    return values


def measure_rows(bench: Bench) -> list[Table]:
    """Measure what it costs to put rows back."""
    bench.say("isolation with rows to put back")
    tests = bench.pick(200, 40)
    cases = []
    for size in (20,) if bench.quick else (20, 500):
        suite = kit_suite("rows", "reset", tables=size, test="test_three_tables", rows=50)
        cases.append(Case(name=f"realstack reset, {size} tables", suite=suite, tests=tests))
        by_hand = hand_suite(bench, "rollback", tables=size, rows=50, test="test_three_tables")
        cases.append(Case(name=f"rollback by hand, {size} tables", suite=by_hand, tests=tests))
    sessions = bench.run_side_by_side(cases, repetitions=bench.pick(3, 1))
    figures = [_figure(name, each, 1.3 if name.startswith("realstack") else None) for name, each in sessions.items()]
    return [
        Table(
            number="N3",
            title="150 rows to put back",
            unit="ms per test",
            figures=tuple(figures),
            explanation="Three tables with 50 rows each at the start of a test, each written to by it.",
        )
    ]


def _figure(name: str, sessions: Sequence[Session], target: float | None = None, p95: float | None = None) -> Figure:
    ours = name.startswith("realstack")
    values, whole = isolation_ms(sessions), whole_ms(sessions)
    return figure(name, values, ours=ours, target=target, target_p95=p95, whole=whole)
