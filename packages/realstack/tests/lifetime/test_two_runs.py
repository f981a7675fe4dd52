"""Two checkouts, an IDE beside a terminal: runs at the same time on one machine never meet."""

import json
from pathlib import Path

import pytest

from ..fix_life import TELL, assert_nothing_left
from ..fix_project import Project

SUITE = """
import os
import pathlib

import psycopg
import pytest
import redis

NAME = pathlib.Path(__file__).parent.name


@pytest.mark.parametrize("turn", range(5))
def test_alone(told, postgres_dsn, redis_url, turn):
    with psycopg.connect(postgres_dsn) as connection, redis.Redis.from_url(redis_url) as client:
        assert connection.execute("INSERT INTO users (email) VALUES (%s) RETURNING id", [NAME]).fetchone() == (1,)
        connection.commit()
        client.set("who", NAME)
        databases = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test%'").fetchall()
        assert len(databases) <= 2
        assert connection.execute("SELECT email FROM users").fetchall() == [(NAME,)]
        assert client.get("who") == NAME.encode() and client.dbsize() == 1
        assert len(client.client_list()) == 2
"""


def run_both(tmp_path: Path, environment: dict[str, str], *, rounds: int) -> None:
    """Run the same suite in two checkouts at once, *rounds* times; one alone, one with two workers."""
    checkouts = [Project(tmp_path / name / "checkout" / name, environment) for name in ("one", "two")]
    for checkout in checkouts:
        checkout.write(conftest=TELL, test_life=SUITE)
    for number in range(rounds):
        workers = [["-n", "2"] if (number + place) % 2 else [] for place in range(2)]
        runs = [checkout.start(*arguments) for checkout, arguments in zip(checkouts, workers, strict=True)]
        said = [run.communicate(timeout=50)[0] for run in runs]
        assert [run.returncode for run in runs] == [0, 0], "\n".join(said)
        assert all("5 passed" in text for text in said)
        told = [[json.loads(path.read_text()) for path in checkout.folder.glob("told/*")] for checkout in checkouts]
        ports = [{port for each in side for port in each["ports"]} for side in told]
        assert ports[0].isdisjoint(ports[1])
        assert {each["run"] for each in told[0]}.isdisjoint({each["run"] for each in told[1]})
        assert_nothing_left([*told[0], *told[1]])
        for checkout in checkouts:
            for path in checkout.folder.glob("told/*"):
                path.unlink()


def test_five_times_two_runs_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    run_both(tmp_path, environment, rounds=5)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_times_two_runs_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    run_both(tmp_path, environment, rounds=100)
