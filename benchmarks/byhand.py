"""The PostgreSQL server of the fixtures written by hand: the kit's program and settings, a database for each schema."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.programs import postgres_folder, unprivileged

_SETTINGS = """
fsync = off
full_page_writes = off
synchronous_commit = off
shared_buffers = 64MB
max_connections = 200
"""


class ByHand:
    """One server for a run of the benchmarks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._made: set[str] = set()

    def database(self, name: str, schema: str) -> str:
        """Return the URL of the database *name*; it holds *schema*."""
        url = f"postgresql://postgres@127.0.0.1:{self._port}"
        if name not in self._made:
            with psycopg.connect(f"{url}/postgres", autocommit=True) as admin:
                admin.execute(f'CREATE DATABASE "{name}"')
            with psycopg.connect(f"{url}/{name}", autocommit=True) as database:
                database.execute(schema)
            self._made.add(name)
        return f"{url}/{name}"


@contextmanager
def open_by_hand(folder: Path) -> Iterator[ByHand]:
    """Start the server, and stop it at the end."""
    programs, become = postgres_folder(), unprivileged()
    place = folder / "pgdata"
    make = ["initdb", "-D", str(place), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run([*become, programs / make[0], *make[1:]], capture_output=True, check=True)
    with (place / "postgresql.conf").open("a") as settings:
        settings.write(_SETTINGS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    control = [*become, str(programs / "pg_ctl"), "-D", str(place)]
    subprocess.run(
        [*control, "-w", "-o", options, "-l", str(folder / "pg.log"), "start"], stdout=subprocess.DEVNULL, check=True
    )
    try:
        yield ByHand(port)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, check=True)
