"""What the figures were taken on."""

import datetime
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.programs import postgres_folder, redis_server

_PACKAGES = (
    *("realstack", "pytest", "pytest-xdist", "pytest-postgresql", "pytest-redis", "django", "psycopg", "asyncpg"),
    *("redis", "chdb-core", "clickhouse-connect", "fastapi"),
)


def describe() -> dict[str, str]:
    """Return what decides the figures, by name."""
    postgres, redis = _server(postgres_folder() / "postgres"), _server(redis_server())
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": _memory(),
        "load at the start": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": platform.python_version(),
        "servers of all cases": f"PostgreSQL {postgres}, Redis {redis}",
        "packages": ", ".join(f"{name} {number}" for name in _PACKAGES if (number := _version(name))),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _server(program: Path) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.[\d.]*\d", said)
    return found.group() if found else said.strip()


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1) if found else platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
