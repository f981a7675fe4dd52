"""A pytest plugin that tells the runner what happens, as data: what was selected, each report, the end.

It is loaded by ``realstack run`` alone (``-p realstack.runner.recorder``). After collection every process of the run
says which services its tests need and waits until the runner has started and shown them.
"""

import json
import os
import re
import signal
import socket
import threading
from typing import Any

import pytest

#: The fixtures of named instances: ``real_postgres_analytics``, ``redis_jobs_url``; the runner knows which there are.
_INSTANCE = r"(?:real_)?(postgres|redis|clickhouse)_(\w+?)(?:_dsn|_url)?"
_VERSION = "_postgres_version"
_CHANNEL = pytest.StashKey["Channel"]()
_GRACE_S = 1.0

Need = tuple[str, str, str | None]
"""Service, instance, wanted version."""


class Channel:
    """This process's line to the runner; when it breaks, the runner is gone and the tests have nobody to tell."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._answers = self._socket.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()
        self._over = False

    def tell(self, kind: str, **values: Any) -> None:
        """Send one event."""
        with self._lock:
            try:
                self._socket.sendall(json.dumps({"kind": kind, **values}).encode() + b"\n")
            except OSError:  # the watcher below ends the run
                return

    def ask(self, kind: str, **values: Any) -> None:
        """Send one event and wait until the runner has done what follows from it."""
        self.tell(kind, **values)
        if not self._answers.readline():
            raise KeyboardInterrupt

    def watch(self) -> None:
        """End this process when the runner goes away."""
        threading.Thread(target=self._watch, name="realstack-runner-watch", daemon=True).start()

    def close(self) -> None:
        """Say goodbye."""
        self._over = True
        self._socket.close()

    def _watch(self) -> None:
        try:
            gone = not self._answers.readline()
        except (OSError, ValueError):
            gone = True
        if not gone or self._over:
            return
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(_GRACE_S)
        if not self._over:
            os._exit(128 + signal.SIGINT)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the runner's own options."""
    group = parser.getgroup("realstack runner")
    group.addoption("--realstack-channel", metavar="SOCKET", help="where `realstack run` listens")
    group.addoption("--realstack-only", metavar="SERVICES", help="run only tests that need one of these services")


def pytest_configure(config: pytest.Config) -> None:
    """Connect to the runner; reports are passed on by the one process that sees all of them."""
    path = config.getoption("--realstack-channel")
    if not path:
        return
    config.stash[_CHANNEL] = channel = Channel(path)
    config.pluginmanager.register(_Collection(channel), "realstack.runner.collection")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reports(channel), "realstack.runner.reports")
    if _is_controller(config):
        channel.watch()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Hang up."""
    if _CHANNEL in config.stash:
        config.stash[_CHANNEL].close()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs none of the wanted services."""
    only = config.getoption("--realstack-only")
    if not only:
        return
    wanted = set(only.split(","))
    kept = [item for item in items if wanted & {service for service, _instance, _version in _needs_of(item)}]
    left_out = [item for item in items if item not in set(kept)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Say what the selected tests need, and wait until it is there."""
    config = session.config
    if _CHANNEL not in config.stash or config.option.collectonly or _is_controller(config):
        return
    needs = sorted({need for item in session.items for need in _needs_of(item)}, key=str)
    if (reporter := config.pluginmanager.getplugin("terminalreporter")) is not None:
        # what pytest has said so far goes before what the runner says now
        reporter.ensure_newline()
        reporter.flush()
    config.stash[_CHANNEL].ask("selected", count=len(session.items), needs=needs)
    config.stash[_CHANNEL].watch()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell the end; in a worker of pytest-xdist that is its controller's business."""
    if hasattr(session.config, "workerinput"):
        return
    if _CHANNEL in session.config.stash:
        session.config.stash[_CHANNEL].tell("finished", exit_status=int(session.exitstatus or exitstatus))


class _Collection:
    """Tells which files could not be collected, or asked to be skipped as a whole."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._channel.tell("collect_error", nodeid=report.nodeid, message=str(report.longrepr))
        elif report.skipped:
            self._channel.tell("collect_skip", nodeid=report.nodeid, reason=_reason(report))


class _Reports:
    """Passes on the reports of the tests, which pytest-xdist gathers in its controller."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._channel.tell(
            "report",
            nodeid=report.nodeid,
            when=report.when,
            outcome=report.outcome,
            seconds=report.duration,
            expected=getattr(report, "wasxfail", None) is not None,
            reason=_reason(report),
        )


def _needs_of(item: pytest.Item) -> set[Need]:
    """Return what *item* needs, as the kit's plugin sees it; it lies above this module and is asked, not imported."""
    plugin: Any = item.config.pluginmanager.getplugin("realstack")
    if plugin is None:
        return set()
    names = getattr(item, "fixturenames", ())
    version = getattr(getattr(item, "callspec", None), "params", {}).get(_VERSION)
    needs: set[Need] = {
        (service, "default", version if service == "postgres" else None) for service in plugin.services_needed(names)
    }
    named = (re.fullmatch(_INSTANCE, name) for name in names)
    return needs | {(found[1], found[2], None) for found in named if found}


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return (
        "" if report.passed or report.skipped else str(getattr(report.longrepr, "reprcrash", None) or report.longrepr)
    )


def _is_controller(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput") and bool(getattr(config.option, "tx", None))
