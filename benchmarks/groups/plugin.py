"""N12: what a plugin costs where no service is used."""

import statistics

from benchmarks.bench import Bench, Case
from benchmarks.figures import Table, figure
from benchmarks.groups.cases import KIT, floor_case
from benchmarks.project import Suite
from benchmarks.session import Session

_PLUGINS = {"realstack": KIT, "pytest-postgresql": "pytest_postgresql.plugin", "pytest-redis": "pytest_redis.plugin"}
_TIMED_IMPORT = "import time, pytest; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def measure_imports(bench: Bench) -> list[Table]:
    """Measure the plugins' imports."""
    bench.say("imports of plugins")
    values: dict[str, list[float]] = {name: [] for name in _PLUGINS}
    for turn in range(bench.pick(12, 3)):
        for name, module in _PLUGINS.items():
            seconds = float(bench.python(_TIMED_IMPORT.format(module)))
            if turn:  # the first time compiles bytecode
                values[name].append(seconds * 1000)
    return [
        Table(
            number="N12",
            title="Import of the plugin, pytest being imported already",
            unit="ms",
            figures=tuple(
                figure(name, each, ours=name == "realstack", target=20.0 if name == "realstack" else None)
                for name, each in values.items()
            ),
        )
    ]


def measure_idle(bench: Bench) -> list[Table]:
    """Measure tests that use nothing."""
    bench.say("plugins without services")
    tests = bench.pick(1000, 200)
    cases = [
        Case(name=name, suite=Suite(name=f"idle-{name}", test="test_nothing", plugins=(module,)), tests=tests)
        for name, module in _PLUGINS.items()
    ]
    sessions = bench.run_side_by_side([*cases, floor_case(tests)], repetitions=bench.pick(4, 1))
    floors_us = [statistics.median(_whole_us(each)) for each in sessions["pytest alone"]]
    # turn by turn: what else the machine does changes from turn to turn
    per_test = {
        name: [us - floor for each, floor in zip(group, floors_us, strict=True) for us in _whole_us(each)]
        for name, group in sessions.items()
    }
    starts = {name: [each.since_spawn_s("collected") for each in group] for name, group in sessions.items()}
    return [
        Table(
            number="N12",
            title="A test that uses no service: setup, call and teardown, what pytest alone needs (median) taken off",
            unit="µs per test",
            figures=tuple(
                figure(
                    name,
                    each,
                    ours=name == "realstack",
                    target=50.0 if name == "realstack" else None,
                )
                for name, each in per_test.items()
            ),
        ),
        Table(
            number="N12",
            title=f"From the start of pytest to the end of collection of {tests} tests, no service used",
            unit="s",
            figures=tuple(figure(name, each, ours=name == "realstack") for name, each in starts.items()),
        ),
    ]


def _whole_us(session: Session) -> list[float]:
    return [sum(phases) * 1e6 for phases in session.only.tests[1:-1]]
