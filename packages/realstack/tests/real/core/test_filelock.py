import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from realstack._core.filelock import locked, try_locked
from realstack._core.waiting import NotReady, wait_until
from realstack.errors import LockBusy

HOLD = """
import os, sys
from pathlib import Path
from realstack._core.filelock import locked
with locked(Path(sys.argv[1]), timeout_s=5):
    child = os.fork() if sys.argv[2] == "fork" else 0
    if sys.argv[2] == "fork" and child == 0:
        import signal
        signal.pause()
    print(child, flush=True)
    sys.stdin.read()
"""


def _hold(path: Path, how: str = "alone") -> tuple[subprocess.Popen[bytes], int]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    return holder, int(holder.stdout.readline())


def test_a_lock_that_stays_taken_is_an_error_that_names_its_holder(tmp_path: Path) -> None:
    holder, _ = _hold(tmp_path / "lock")

    with pytest.raises(LockBusy) as caught, locked(tmp_path / "lock", timeout_s=0.1):
        pytest.fail("the lock was taken twice")

    assert (caught.value.holder, caught.value.path) == (holder.pid, str(tmp_path / "lock"))
    assert caught.value.waited_s < 1
    assert pickle.loads(pickle.dumps(caught.value)).holder == holder.pid
    holder.communicate()


def test_a_lock_is_free_when_its_holder_was_killed_though_its_child_lives(tmp_path: Path) -> None:
    holder, child = _hold(tmp_path / "lock", "fork")

    holder.kill()
    with locked(tmp_path / "lock", timeout_s=2):
        os.kill(child, signal.SIGKILL)
    holder.communicate()


def test_a_waiter_gets_the_lock_soon_after_it_is_free(tmp_path: Path) -> None:
    holder, _ = _hold(tmp_path / "lock")
    assert holder.stdin is not None
    got: list[float] = []

    def wait() -> None:
        with locked(tmp_path / "lock", timeout_s=10):
            got.append(time.perf_counter())

    waiter = threading.Thread(target=wait)
    waiter.start()
    holder.kill()
    holder.communicate()
    freed = time.perf_counter()
    waiter.join()

    assert got[0] - freed < 0.5


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    inside, most = 0, 0
    counted = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(tmp_path / "lock", timeout_s=20):
                with counted:
                    inside += 1
                    most = max(most, inside)
                with counted:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1


def _add_one(number: Path) -> None:
    for _ in range(50):
        with locked(number.with_name("lock"), timeout_s=30):
            number.write_text(str(int(number.read_text()) + 1))


def test_processes_exclude_each_other(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    workers = [multiprocessing.get_context("spawn").Process(target=_add_one, args=(number,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert number.read_text() == "150"


def test_shared_holders_let_each_other_in_and_keep_out_who_wants_it_alone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock, timeout_s=1, shared=True), try_locked(lock, shared=True) as shared, try_locked(lock) as alone:
        assert (shared, alone) == (True, False)
    with try_locked(tmp_path / "lock") as alone:
        assert alone


def test_trying_says_at_once_whether_the_lock_was_free(tmp_path: Path) -> None:
    holder, _ = _hold(tmp_path / "lock")
    with try_locked(tmp_path / "lock") as free:
        assert not free

    holder.communicate()
    with try_locked(tmp_path / "lock") as free:
        assert free


def test_a_block_in_a_forked_child_ends_without_freeing_the_parents_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", timeout_s=1):
        child = os.fork()
        if child == 0:
            os._exit(_leave_block(tmp_path))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with try_locked(tmp_path / "lock") as free:
            assert not free


def _leave_block(folder: Path) -> int:
    """Ask, in a forked child, for the lock that the parent holds."""
    with try_locked(folder / "lock") as free:
        return 1 if free else 0


def test_descriptors_are_not_kept(tmp_path: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(5):
        with locked(tmp_path / "lock", timeout_s=1):
            pass

    def look() -> None:
        if count() > before:
            raise NotReady("more descriptors than before")

    wait_until(look, timeout_s=1)
