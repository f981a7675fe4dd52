"""Whose socket is it: which process holds the client's end of a connection (Linux; elsewhere nobody knows)."""

from collections.abc import Iterable
from pathlib import Path

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def holds_port(pid: int, port: int) -> bool:
    """True when process *pid* has a TCP socket whose own end is *port*; False when that cannot be found out."""
    inodes = set(_inodes_of_port(port))
    return bool(inodes) and not inodes.isdisjoint(_inodes_of_process(pid))


def _inodes_of_port(port: int) -> Iterable[str]:
    wanted = f":{port:04X}"
    for table in _TABLES:
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[1].endswith(wanted):
                yield fields[9]


def _inodes_of_process(pid: int) -> Iterable[str]:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = str(descriptor.readlink())
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            yield target[8:-1]
