"""N5: two and eight workers of pytest-xdist."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.bench import Bench, Case
from benchmarks.figures import Table, figure
from benchmarks.groups.cases import floor_case, hand_suite, kit_suite, peer_suite
from benchmarks.groups.isolation import isolation_ms
from benchmarks.session import Session, Worker

_TABLES = 20
_XDIST = "xdist"

Sessions = Mapping[str, Sequence[Session]]


def measure(bench: Bench) -> list[Table]:
    """Measure the start of a worker, and isolation among workers."""
    bench.say("workers")
    counts = (2,) if bench.quick else (2, 8)
    kit = kit_suite("workers", "reset", tables=_TABLES)
    cases = []
    for count in counts:
        # 100 tests each: a worker of eight must not be over before the last one has begun
        rest = {"tests": count * bench.pick(100, 20), "arguments": ("-p", _XDIST, "-n", str(count))}
        cases.append(Case(name=f"realstack, -n {count}", suite=kit, **rest))
        cases.append(Case(name=f"pytest-postgresql, -n {count}", suite=peer_suite(_TABLES), as_user=True, limit_s=5, **rest))
        by_hand = hand_suite(bench, "rollback", tables=_TABLES)
        cases.append(Case(name=f"rollback by hand, -n {count}", suite=by_hand, **rest))
        floor = floor_case(rest["tests"], *rest["arguments"])
        cases.append(Case(name=f"pytest alone, -n {count}", suite=floor.suite, **rest))
    cases.append(Case(name="realstack, no xdist", suite=kit, tests=bench.pick(100, 20)))
    sessions = bench.run_side_by_side(cases, repetitions=bench.pick(3, 1))
    return [_starts(sessions, counts), _isolation(sessions, counts)]


def _starts(sessions: Sessions, counts: Sequence[int]) -> Table:
    figures = [figure("realstack, no xdist", _start_s(sessions["realstack, no xdist"]), ours=True)]
    for count in counts:
        kit = sessions[f"realstack, -n {count}"]
        extra = [seconds for session in kit for seconds in sorted(map(_worker_start_s, session.workers))[:-1]]
        figures.append(figure(f"realstack, -n {count}, each worker but the slowest", extra, ours=True, target=0.1))
        figures.append(figure(f"realstack, -n {count}, all workers", _start_s(kit), ours=True))
        figures.append(figure(f"pytest-postgresql, -n {count}", _start_s(sessions[f"pytest-postgresql, -n {count}"])))
    return Table(
        number="N5",
        title="The start of one worker: what is spent before its first test, the rest of pytest left out",
        unit="s",
        figures=tuple(figures),
        explanation="The end of collection, and the first test's setup less a usual one's. The slowest worker starts the server.",
    )


def _start_s(sessions: Sequence[Session]) -> list[float]:
    return [_worker_start_s(worker) for session in sessions for worker in session.workers]


def _worker_start_s(worker: Worker) -> float:
    usual = statistics.median(setup for setup, _call, _teardown in worker.tests)
    return worker.once["collection_finish"] + worker.tests[0][0] - usual


def _isolation(sessions: Sessions, counts: Sequence[int]) -> Table:
    figures = [figure("realstack reset, no xdist", isolation_ms(sessions["realstack, no xdist"]), ours=True, target=0.5)]
    for count in counts:
        figures.append(
            figure(f"realstack reset, -n {count}", isolation_ms(sessions[f"realstack, -n {count}"]), ours=True, target=0.5)
        )
        for peer in ("rollback by hand", "pytest-postgresql", "pytest alone"):
            figures.append(figure(f"{peer}, -n {count}", isolation_ms(sessions[f"{peer}, -n {count}"])))
    return Table(
        number="N5",
        title=f"Isolation among workers, {_TABLES} tables",
        unit="ms per test",
        figures=tuple(figures),
        explanation="Eight workers on fewer cores wait for each other, whoever isolates them: compare within a count.",
    )
