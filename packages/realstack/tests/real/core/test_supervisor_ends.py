"""Whatever ends the owner of a run ends its servers and deletes its folders."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from realstack._core.supervision import join_supervisor, start_supervisor
from realstack._core.waiting import NotReady, wait_until
from realstack.errors import SupervisorLost

from .conftest import DEAF, LEAVE_DAEMON, Owned, gone, nothing_runs

StartOwner = Callable[..., Owned]
SLEEP = ["/bin/sleep", "1000"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_when_a_signal_ends_the_owner(start_owner: StartOwner, number: int) -> None:
    owned = start_owner("wait")

    owned.owner.send_signal(number)

    owned.assert_nothing_left()


@pytest.mark.parametrize("ending", ["exit", "_exit", "close"])
def test_nothing_is_left_when_the_owner_ends_by_itself(start_owner: StartOwner, ending: str) -> None:
    owned = start_owner(ending)

    assert owned.owner.wait(timeout=10) == (3 if ending == "_exit" else 0)
    owned.assert_nothing_left()


def test_a_child_that_inherited_the_lease_does_not_keep_the_run_alive(start_owner: StartOwner) -> None:
    owned = start_owner("heir")

    owned.owner.kill()

    owned.assert_nothing_left()
    os.kill(owned.heir, 0)


BROKEN = """
import sys
from realstack._core import supervisor_loop, supervisor_run
supervisor_run.Run._list = lambda *_: 1 / 0
supervisor_loop.main(sys.argv[1:])
"""


def test_a_supervisor_with_a_bug_takes_everything_along(base: Path) -> None:
    run = base / "run"
    broken = subprocess.Popen([sys.executable, "-c", BROKEN, run, "0"])
    wait_until(lambda: _made(run), timeout_s=10)
    with join_supervisor(run) as joined:
        joined.own_folder(base / "data")
        (base / "data").mkdir()
        process = joined.spawn(["/bin/bash", "-c", DEAF], name="deaf", log=base / "log")
        env = {"LOG": str(base / "orphan"), "PATH": "/usr/bin:/bin"}
        joined.spawn(["/bin/bash", "-c", LEAVE_DAEMON], name="p", log=base / "orphan", env=env).wait(timeout_s=5)

        with pytest.raises(SupervisorLost):
            joined.processes()

    assert broken.wait(timeout=2) == 1
    wait_until(partial(gone, process.pid, reaped=False), timeout_s=2)
    wait_until(partial(gone, int((base / "orphan").read_text().split()[1]), reaped=False), timeout_s=2)
    assert sorted(each.name for each in base.iterdir()) == ["log", "orphan"]


def test_what_a_link_in_an_owned_folder_points_to_is_not_touched(start_owner: StartOwner) -> None:
    owned = start_owner("wait")
    assert (owned.data / "link" / "owner.py").exists()

    owned.owner.kill()

    owned.assert_nothing_left()
    assert Path(__file__).exists()


def test_the_reader_of_the_owners_output_is_not_held_up_by_the_supervisor(start_owner: StartOwner) -> None:
    owned = start_owner("wait")

    owned.owner.kill()
    output, _ = owned.owner.communicate(timeout=1)

    assert output == ""


def test_servers_end_with_a_supervisor_that_was_killed(base: Path) -> None:
    supervision = start_supervisor(base / "run")
    log = base / "log"
    plain = supervision.spawn(SLEEP, name="plain", log=log)
    deaf = supervision.spawn(["/bin/bash", "-c", DEAF], name="deaf", log=log)
    other_user = supervision.spawn(SLEEP, name="namespace", log=log, userns=True, end_signal=signal.SIGQUIT)

    os.kill(supervision.ask("list")["supervisor"], signal.SIGKILL)

    for process in (plain, deaf, other_user):
        wait_until(partial(gone, process.pid, reaped=False), timeout_s=2)
    supervision.close()


def test_sigterm_to_the_supervisor_ends_the_run_in_order(start_owner: StartOwner) -> None:
    owned = start_owner("wait")

    os.kill(owned.supervisor, signal.SIGTERM)

    owned.assert_nothing_left()


def test_interrupt_and_hangup_are_none_of_the_supervisors_business(start_owner: StartOwner) -> None:
    owned = start_owner("wait")

    os.kill(owned.supervisor, signal.SIGINT)
    os.kill(owned.supervisor, signal.SIGHUP)

    with join_supervisor(owned.run) as joined:
        assert [each.pid for each in joined.processes()] == list(owned.pids)


def test_a_lost_supervisor_is_an_error_that_names_its_log(base: Path) -> None:
    supervision = start_supervisor(base / "run")
    process = supervision.spawn(SLEEP, name="sleep", log=base / "sleep.log")
    os.kill(supervision.ask("list")["supervisor"], signal.SIGKILL)

    with pytest.raises(SupervisorLost) as caught:
        process.is_alive()

    assert caught.value.log == str(base / "run" / "supervisor.log")
    supervision.close()
    assert not (base / "run").exists()


def test_the_owner_deletes_what_a_killed_supervisor_could_not(base: Path) -> None:
    supervision = start_supervisor(base / "run")
    supervision.own_folder(base / "data")
    (base / "data").mkdir()
    (base / "data" / "file").touch()
    os.kill(supervision.ask("list")["supervisor"], signal.SIGKILL)

    supervision.close()

    assert list(base.iterdir()) == []


def test_a_detached_run_outlives_its_owner_until_it_is_ended(base: Path) -> None:
    run = base / "run"
    child = os.fork()
    if child == 0:
        started = start_supervisor(run, lease=False)
        started.spawn(SLEEP, name="sleep", log=run / "sleep.log")
        os._exit(0)
    os.waitpid(child, 0)

    joined = join_supervisor(run)
    assert [each.name for each in joined.processes()] == ["sleep"]

    joined.end()
    assert not run.exists()
    wait_until(lambda: nothing_runs(run), timeout_s=1)


def test_a_run_can_be_kept_when_its_owner_goes(base: Path) -> None:
    run = base / "run"
    child = os.fork()
    if child == 0:
        started = start_supervisor(run)
        started.spawn(SLEEP, name="sleep", log=run / "sleep.log")
        started.detach()
        os._exit(0)
    os.waitpid(child, 0)

    joined = join_supervisor(run)
    assert [each.name for each in joined.processes()] == ["sleep"]

    joined.end()
    wait_until(lambda: nothing_runs(run), timeout_s=1)


def test_the_last_commands_run_once_whatever_ends_the_owner(base: Path) -> None:
    child = os.fork()
    if child == 0:
        started = start_supervisor(base / "run")
        started.at_end(["/bin/sh", "-c", f"echo $WHO >> {base}/said"], timeout_s=1, env={"WHO": "me"})
        started.at_end(["/nowhere/at/all"], timeout_s=1)
        started.at_end(["/bin/sleep", "1000"], timeout_s=0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)

    wait_until(lambda: _deleted(base / "run"), timeout_s=2)

    assert (base / "said").read_text() == "me\n"


def test_a_supervisor_that_cannot_start_is_an_error_at_once(base: Path) -> None:
    (base / "file").touch()
    supervision = join_supervisor(base / "file" / "run")

    with pytest.raises(SupervisorLost):
        supervision.processes()


def test_a_python_that_cannot_be_started_is_an_error_that_names_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    with pytest.raises(SupervisorLost, match="'/nowhere/python' cannot be started: No such file"):
        start_supervisor(base / "run")

    assert list(base.iterdir()) == []


def test_joining_a_run_that_is_gone_is_an_error_at_once(base: Path) -> None:
    with pytest.raises(SupervisorLost, match="nobody listens there"):
        join_supervisor(base / "gone").processes()


def _sigkill_leaves_nothing(start_owner: StartOwner, *, times: int, at_once: int) -> None:
    for _ in range(times // at_once):
        together = [start_owner("wait") for _ in range(at_once)]
        for owned in together:
            owned.owner.kill()
        for owned in together:
            owned.assert_nothing_left()


def test_thirty_killed_owners_leave_nothing(start_owner: StartOwner) -> None:
    _sigkill_leaves_nothing(start_owner, times=30, at_once=5)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_hundred_killed_owners_leave_nothing(start_owner: StartOwner) -> None:
    _sigkill_leaves_nothing(start_owner, times=100, at_once=1)


def _made(folder: Path) -> None:
    if not folder.exists():
        raise NotReady(f"{folder} is not there")


def _deleted(folder: Path) -> None:
    if folder.exists():
        raise NotReady(f"{folder} is there")
