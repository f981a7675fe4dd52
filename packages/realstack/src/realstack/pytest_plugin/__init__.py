"""The pytest plugin: hooks here, fixtures in ``fixtures``, memory in ``state``, words in ``reporting``.

Importing it must stay cheap (no driver, no runtime): everything that costs is imported by the first test that needs it.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from realstack.pytest_plugin import reporting

# the runner asks the plugin, which lies above it, by this name
from realstack.pytest_plugin.needs import services_needed as services_needed
from realstack.pytest_plugin.options import MARKERS, add_options, command_line, wanted_versions
from realstack.pytest_plugin.state import STATE, State

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

_VERSION_FIXTURE = "_postgres_version"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Resolve the configuration once; a wrong one ends the run before anything starts."""
    from realstack.config import find_root, read_environment, resolve
    from realstack.errors import RealstackError

    for marker, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")
    pytest.register_assert_rewrite("realstack.contracts")
    try:
        resolved = resolve(find_root(config.rootpath), environ=read_environment(), command_line=command_line(config))
    except RealstackError as error:
        raise pytest.UsageError(str(error)) from error
    wanted_versions(config)
    from pathlib import Path

    run_folder = getattr(config, "workerinput", {}).get("realstack_run_folder")
    config.stash[STATE] = State(resolved, run_folder=Path(run_folder) if run_folder else None)
    from realstack.pytest_plugin import fixtures
    from realstack.pytest_plugin.instances import instance_fixtures

    config.pluginmanager.register(fixtures, "realstack.fixtures")
    config.pluginmanager.register(instance_fixtures(resolved), "realstack.instances")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what this process started, whatever ended the session."""
    if STATE in config.stash:
        config.stash[STATE].close()


# --- collection -------------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that needs PostgreSQL once per version of ``--postgres-version``."""
    versions = wanted_versions(metafunc.config)
    if versions and _VERSION_FIXTURE in metafunc.fixturenames:
        ids = [f"postgres{version}" for version in versions]
        metafunc.parametrize(_VERSION_FIXTURE, versions, ids=ids, indirect=True, scope="session")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what asks for one of the kit's fixtures, so that ``-m real_services`` selects it."""
    if item.config.stash[STATE].needs.is_real_services_test(getattr(item, "fixturenames", ())):
        item.add_marker("real_services")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what the selected tests need, all at once; before the terminal tells what was collected and started."""
    if _only_looks(session.config) or _is_controller(session.config):
        return
    names = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    state = session.config.stash[STATE]
    state.start_early(state.needs.services(names), wanted_versions(session.config))


def _only_looks(config: pytest.Config) -> bool:
    """True when no test will run."""
    looks = ("collectonly", "showfixtures", "show_fixtures_per_test", "setupplan")
    return any(config.getoption(option, default=False) for option in looks)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say what was started: service, version, provider, milliseconds."""
    return reporting.started_lines(config.stash[STATE])


def pytest_report_header(config: pytest.Config) -> str:
    """Say how real services are set for this run."""
    return reporting.header(config.stash[STATE])


# --- one test ---------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Note what is there before the test's fixtures are made."""
    item.config.stash[STATE].begin_test(item.nodeid)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Make what a wider fixture writes the baseline of the tests that share it."""
    state = request.config.stash[STATE]
    if fixturedef.scope == "function":
        return (yield)
    if state.needs.is_own(fixturedef.argname):
        state.baselines.note_address(fixturedef, request)
        return (yield)
    done = state.baselines.watch(fixturedef, request)
    result = yield
    done()
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Put the services back after every fixture of the test has ended, the user's included."""
    try:
        result = yield
    finally:
        item.config.stash[STATE].end_test()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show on a failed test which services it had: database, last log lines."""
    report: pytest.TestReport = yield
    state = item.config.stash[STATE]
    if call.when == "call":
        state.tally.ran += 1
    if report.failed:
        state.test_failed = True
        report.sections += reporting.failure_sections(state, state.needs.services(getattr(item, "fixturenames", ())))
    return report


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the services; a run that selected tests and ran none has proven nothing and fails."""
    state = session.config.stash[STATE]
    state.close()
    workeroutput = getattr(session.config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput["realstack"] = state.tally.to_plain()
        return
    if state.tally.skips and not state.tally.ran and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell, counted, what was started, skipped and left open."""
    reporting.write_summary(terminalreporter, config.stash[STATE].tally)


# --- xdist ------------------------------------------------------------------------------------------------------------


def _is_controller(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput") and bool(getattr(config.option, "tx", None))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: "WorkerController") -> None:
    """Tell a worker where the run is, whose servers it shares."""
    state = node.config.stash[STATE]
    if state.config.real_services:
        node.workerinput["realstack_run_folder"] = str(state.open_stack().run_folder)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: "WorkerController") -> None:
    """Add up what a worker did; a crashed one has nothing to say."""
    plain = getattr(node, "workeroutput", {}).get("realstack")
    if plain:
        node.config.stash[STATE].tally.add(plain)
