"""The one thing a killed PostgreSQL leaves behind outside its folder: a System V segment of 56 bytes.

It is how a second server notices that the first still runs. A server that stops or is restarted removes it; after
SIGKILL it stays until the machine restarts, and a machine has room for 4096.

Source: PostgreSQL source, src/backend/port/sysv_shmem.c; proc_sysvipc(5).
"""

from pathlib import Path

from realstack._core.waiting import Late, NotReady, wait_until

_SEGMENTS = Path("/proc/sysvipc/shm")
_PID_SEGMENT = 6  # line of postmaster.pid, from 0: key and id of the segment
_IPC_RMID = 0


def remove_segment(data: Path, *, server_pid: int, timeout_s: float = 1.0) -> bool:
    """Remove the segment of the server *server_pid* that was killed in *data*; say whether there was one.

    It is removed only if that very process made it and, within *timeout_s* seconds, its last session is gone.
    """
    number = _segment_of(data)
    if number is None:
        return False

    def remove() -> bool:
        users = _users_of(number, server_pid)
        if users:
            raise NotReady("its sessions have not ended yet")
        return users == 0 and _remove(number)

    try:
        return wait_until(remove, timeout_s=timeout_s)
    except Late:
        return False


def _segment_of(data: Path) -> int | None:
    """Return the number of the segment; there is none when the server stopped in order."""
    try:
        _, number = (data / "postmaster.pid").read_text().splitlines()[_PID_SEGMENT].split()
        return int(number)
    except (OSError, ValueError, IndexError):
        return None


def _users_of(number: int, server_pid: int) -> int | None:
    """Return how many processes use the segment; ``None`` when it is not there or not that server's."""
    try:
        columns, *segments = (line.split() for line in _SEGMENTS.read_text().splitlines())
    except (OSError, ValueError):
        return None  # not Linux
    for values in segments:
        segment = dict(zip(columns, values, strict=False))
        if segment["shmid"] == str(number) and segment["cpid"] == str(server_pid):
            return int(segment["nattch"])
    return None


def _remove(number: int) -> bool:
    import ctypes

    return bool(ctypes.CDLL(None).shmctl(number, _IPC_RMID, None) == 0)
