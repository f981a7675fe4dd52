"""Locks between processes: a file and ``flock``. The kernel frees them when their process dies, whatever ends it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from realstack._core.waiting import Late, NotReady, wait_until
from realstack.errors import LockBusy

#: Descriptors of the locks this process holds or asks for; a forked child lets go of its copies of them.
_OPEN: set[int] = set()


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float, shared: bool = False) -> Iterator[None]:
    """Hold the lock *path* inside the block; threads of one process exclude each other, too.

    Args:
        path: made when it is not there, and left there; its folder exists.
        timeout_s: seconds to wait for it.
        shared: several may hold it at once, but nobody beside them who wants it alone.

    Raises:
        LockBusy: somebody else kept it; names the process when it is known.
    """
    file = _open(path)

    def take() -> None:
        if not _take(file, shared=shared):
            raise NotReady("held")

    try:
        try:
            wait_until(take, timeout_s=timeout_s, max_pause_s=0.01)
        except Late as late:
            raise LockBusy(path=os.fspath(path), waited_s=late.waited_s, holder=_holder(file)) from late
        yield
    finally:
        _close(file)


@contextlib.contextmanager
def try_locked(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Hold the lock *path* inside the block if it is free now; the block is told whether it does."""
    file = _open(path)
    try:
        yield _take(file, shared=shared)
    finally:
        _close(file)


def _open(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _OPEN.add(file)
    return file


def _close(file: int) -> None:
    if file in _OPEN:  # in a forked child it is closed already, and the number may be another file's
        _OPEN.discard(file)
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _take(file: int, *, shared: bool) -> bool:
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if not shared:
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return True


def _holder(file: int) -> int | None:
    text = os.pread(file, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _after_fork_in_child() -> None:
    """Close the copies: a child that outlives its parent would hold the parent's locks."""
    for file in _OPEN:
        os.close(file)
    _OPEN.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
