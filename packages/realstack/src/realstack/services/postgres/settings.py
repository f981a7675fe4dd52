"""The settings a test server of ours runs with, and why. Settings of the user win over every one of them.

Measured on 2 shared cores with data in memory, start to first answer, PostgreSQL 18 (docs/decisions/0006).
"""

from collections.abc import Mapping
from pathlib import Path

#: Between the parts of a log line; log.py cuts at it.
LOG_LINE_PREFIX = "%m [%p] db=%d session=%c app=%a "

_ALWAYS = {
    # losing data at a crash is fine: the data is thrown away with the run
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    # what suites expect to be possible: two-phase commit, logical replication, many pools
    "max_prepared_transactions": "64",
    "wal_level": "logical",
    "max_connections": "200",
    # small: DROP DATABASE and TRUNCATE look at every buffer, and the file system below is memory most of the time
    "shared_buffers": "64MB",
    # the log of what was written lies in memory, too; nobody needs much of it
    "max_wal_size": "128MB",
    "min_wal_size": "32MB",
    # trying for huge pages fails on most machines and may take them from somebody on others
    "huge_pages": "off",
    # not posix: /dev/shm is 64 MB in a container, may be missing, and keeps the segments of a killed server for ever;
    # these lie in the data folder and go with it
    "dynamic_shared_memory_type": "mmap",
    # the server of a colleague and of the CI must give the same answers
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_line_prefix": LOG_LINE_PREFIX,
}
#: Major version -> settings that exist from there on.
_SINCE = {
    11: {"jit": "off"},  # compiling a query of a test costs more than running it
    12: {"wal_init_zero": "off"},  # writing 16 MB of zeros delays whoever happens to fill a file
    14: {"max_slot_wal_keep_size": "256MB"},  # a forgotten slot must not fill the memory
    18: {"io_method": "sync"},  # no I/O workers to start; the data is in memory
}


def server_settings(
    version: str, *, port: int, socket_folder: Path, wanted: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return every setting of a server of *version*: ours, with *wanted* on top.

    Autovacuum stays on: turning it off saves nothing at the start (measured), and a run of thousands of tests that
    delete and insert would leave its tables bloated.
    """
    major = major_of(version)
    settings = dict(_ALWAYS)
    for since, more in _SINCE.items():
        if major >= since:
            settings |= more
    wanted = dict(wanted or {})
    elsewhere = wanted.pop("unix_socket_directories", "")  # beside ours: the kit has to find its server
    settings |= {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": ", ".join(f'"{folder}"' for folder in (socket_folder, elsewhere) if str(folder)),
        "unix_socket_permissions": "0700",
    }
    return settings | wanted


def major_of(version: str) -> int:
    """Return 18 for ``18.4`` and for ``18beta1``."""
    digits = len(version) - len(version.lstrip("0123456789"))
    return int(version[:digits] or 0)


def to_conf(settings: Mapping[str, str]) -> str:
    """Return *settings* as lines of a configuration file."""
    return "".join(f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
