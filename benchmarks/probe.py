"""A pytest plugin that times a session from the inside and writes what it saw to a file.

It is the same in every session, with the kit and with its peers. Times between processes are on the monotonic clock,
which all processes of a Linux machine share.
"""

import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

#: Name -> when it happened, on the monotonic clock.
_marks: dict[str, float] = {}
#: One list for each test: seconds of its setup, call and teardown.
_tests: list[list[float]] = []
#: Name -> seconds of things that happen once.
_once: dict[str, float] = {}
#: Name -> seconds of each time it happened.
_samples: dict[str, list[float]] = {}
_MIN_TESTS = 12


def mark(name: str) -> None:
    """Note that *name* happens now."""
    _marks[name] = time.monotonic()


def sample(name: str, seconds: float) -> None:
    """Add one duration of *name*."""
    _samples.setdefault(name, []).append(seconds)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench-result", required=True)
    parser.addoption("--bench-tests", type=int, default=1)
    parser.addoption("--bench-limit", type=float, default=60.0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", range(metafunc.config.getoption("--bench-tests")))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> Generator[None, Any, Any]:
    started = time.monotonic()
    result = yield
    mark("collected")
    _once["collection_finish"] = _marks["collected"] - started
    return result


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.when == "setup":
        _tests.append([])
        _marks.setdefault("first_setup", time.monotonic())
    _tests[-1].append(call.duration)
    _stop_in_time(item)


def _stop_in_time(item: pytest.Item) -> None:
    late = time.monotonic() - _marks["first_setup"] > item.config.getoption("--bench-limit")
    if late and len(_tests) >= _MIN_TESTS:
        item.session.shouldstop = "the time for this session is over"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = getattr(session.config, "workerinput", {}).get("workerid", "main")
    result = {"marks": _marks, "tests": _tests, "once": _once, "samples": _samples, "failed": session.testsfailed}
    Path(f"{session.config.getoption('--bench-result')}.{worker}").write_text(json.dumps(result))
