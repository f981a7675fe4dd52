"""Whatever ends a run, nothing of it stays on servers that are not ours, and nothing else there has changed."""

import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.wire import Connection as Postgres
from realstack.services.redis.wire import Connection as Redis

from .conftest import Neighbour, everything_in

OWNER = Path(__file__).with_name("owner.py")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, "raise", "return"])
def test_nothing_is_left_and_nobody_is_hurt(
    foreign_postgres: Endpoint,
    foreign_redis: Endpoint,
    postgres_neighbour: Neighbour,
    redis_neighbour: Neighbour,
    end: int | str,
) -> None:
    run_folder = Path(f"/tmp/rs-killed-{secrets.token_hex(4)}")
    how = "wait" if isinstance(end, int) else end
    argv = [sys.executable, OWNER, run_folder, foreign_postgres.url, foreign_redis.url, how]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        assert owner.stdout is not None
        database, number = owner.stdout.readline().split()
        assert made(foreign_postgres, database, foreign_redis, number) or not isinstance(end, int)
        if isinstance(end, int):
            owner.send_signal(end)

    wait_until(lambda: undisturbed(postgres_neighbour, redis_neighbour, run_folder), timeout_s=10)


def made(postgres: Endpoint, database: str, redis: Endpoint, number: str) -> bool:
    with Postgres(postgres) as connection:
        found = connection.query("SELECT 1 FROM pg_database WHERE datname = $1", database)
    with Redis(redis.with_database(number), name=None) as connection_to_redis:
        return bool(found) and connection_to_redis.call("DBSIZE") == 2


def undisturbed(postgres: Neighbour, redis: Neighbour, run_folder: Path) -> None:
    for neighbour in (postgres, redis):
        if everything_in(neighbour.endpoint) != neighbour.before:
            raise NotReady(f"{neighbour.endpoint} is not what it was")
    if run_folder.exists():
        raise NotReady(f"{run_folder} is there")
