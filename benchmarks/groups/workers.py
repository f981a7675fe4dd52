"""N5: two and eight workers of pytest-xdist."""

import dataclasses
from collections.abc import Mapping, Sequence

from benchmarks.bench import Bench, Case
from benchmarks.figures import Table, figure
from benchmarks.groups.cases import floor_case, hand_suite, kit_suite, peer_suite
from benchmarks.groups.isolation import isolation_ms
from benchmarks.session import Session

_TABLES = 20

Sessions = Mapping[str, Sequence[Session]]


def measure(bench: Bench) -> list[Table]:
    """Measure the start of a worker, and isolation among workers."""
    bench.say("workers")
    counts = (2,) if bench.quick else (2, 8)
    kit = kit_suite("workers", "reset", tables=_TABLES)
    by_hand = hand_suite(bench, "rollback", tables=_TABLES)
    suites = {"realstack": kit, "rollback by hand": by_hand, "pytest alone": floor_case(1).suite}
    cases = []
    for count in counts:
        # 60 tests each: a worker of eight must not be over before the last one has begun
        tests, arguments = count * bench.pick(60, 20), ("-p", "xdist", "-n", str(count))
        cases += [
            Case(name=f"{name}, -n {count}", suite=suite, tests=tests, arguments=arguments)
            for name, suite in suites.items()
        ]
        peer = Case(name=f"pytest-postgresql, -n {count}", suite=peer_suite(_TABLES), as_user=True, limit_s=3)
        cases.append(dataclasses.replace(peer, tests=tests, arguments=arguments))
    alone = bench.pick(60, 20)
    cases.append(Case(name="realstack, no xdist", suite=kit, tests=alone))
    cases.append(Case(name="pytest alone, no xdist", suite=floor_case(alone).suite, tests=alone))
    sessions = bench.run_side_by_side(cases, repetitions=bench.pick(3, 1))
    return [_starts(sessions, counts), _isolation(sessions, counts)]


def _starts(sessions: Sessions, counts: Sequence[int]) -> Table:
    alone = _until_ready_s(sessions, "no xdist")
    figures = [figure("realstack, no xdist: beyond pytest alone", alone, ours=True)]
    for count in counts:
        together = _until_ready_s(sessions, f"-n {count}")
        extra = [(many - one) / (count - 1) for many, one in zip(together, alone, strict=True)]
        figures.append(figure(f"realstack, -n {count}: the last worker beyond pytest alone", together, ours=True))
        figures.append(figure(f"realstack, -n {count}: for each extra worker", extra, ours=True, target=0.1))
        peer = _until_ready_s(sessions, f"-n {count}", who="pytest-postgresql")
        figures.append(figure(f"pytest-postgresql, -n {count}: the last worker beyond pytest alone", peer))
    return Table(
        number="N5",
        title="Until every worker is past the setup of its first test",
        unit="s",
        figures=tuple(figures),
        explanation=(
            "From the start of pytest, less what pytest alone takes with as many workers in the same turn. For each "
            "extra worker: what that is more than without xdist, shared out."
        ),
    )


def _until_ready_s(sessions: Sessions, workers: str, *, who: str = "realstack") -> list[float]:
    pairs = zip(sessions[f"{who}, {workers}"], sessions[f"pytest alone, {workers}"], strict=True)
    return [each.since_spawn_s("first_setup") - floor.since_spawn_s("first_setup") for each, floor in pairs]


def _isolation(sessions: Sessions, counts: Sequence[int]) -> Table:
    figures = [
        figure("realstack reset, no xdist", isolation_ms(sessions["realstack, no xdist"]), ours=True, target=0.5)
    ]
    for count in counts:
        figures.append(
            figure(
                f"realstack reset, -n {count}", isolation_ms(sessions[f"realstack, -n {count}"]), ours=True, target=0.5
            )
        )
        names = [f"{peer}, -n {count}" for peer in ("rollback by hand", "pytest-postgresql", "pytest alone")]
        figures += [figure(name, isolation_ms(sessions[name])) for name in names]
    return Table(
        number="N5",
        title=f"Isolation among workers, {_TABLES} tables",
        unit="ms per test",
        figures=tuple(figures),
        explanation="Eight workers on fewer cores wait for each other, whoever isolates them: compare within a count.",
    )
