"""``up``, ``status`` and ``down``: servers that stay as long as they are meant to, and not longer."""

import json
import os
import signal
from pathlib import Path

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.wire import Connection as PostgresConnection
from realstack.services.redis.wire import Connection as RedisConnection


def gone(path):
    def look():
        if path.exists():
            raise NotReady(f"{path} is still there")

    wait_until(look, timeout_s=10)


def test_services_run_until_ctrl_c_and_their_urls_work(project, tmp_path):
    out = tmp_path / "out.json"
    with out.open("w") as stdout:
        process = project.start("up", "postgres", "redis", "--json", stdout=stdout)
    try:

        def read():
            try:
                return json.loads(out.read_text())
            except ValueError:
                raise NotReady("it has printed nothing yet") from None

        printed = wait_until(read, timeout_s=40)
        urls = {each["service"]: each["url"] for each in printed["services"]}
        with PostgresConnection(Endpoint.parse("postgres", urls["postgres"])) as connection:
            assert connection.query("SELECT 1") == [("1",)]
        with RedisConnection(Endpoint.parse("redis", urls["redis"])) as connection:
            assert connection.call("PING") in (b"PONG", "PONG")
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    assert process.returncode == 0, err
    gone(Path(printed["run_folder"]))


def test_a_detached_stack_stays_until_it_is_taken_down(project):
    up = project.call("up", "redis", "postgres", "--detach", "--name", "kept", "--json")
    assert up.returncode == 0, up.stderr
    printed = json.loads(up.stdout)

    urls = {each["service"]: each["url"] for each in printed["services"]}
    with RedisConnection(Endpoint.parse("redis", urls["redis"])) as connection:
        connection.call("SET", "mine", "1")
    [stack] = json.loads(project.call("status", "--json").stdout)
    assert (stack["name"], [each["alive"] for each in stack["services"]]) == ("kept", [True, True])
    assert {each["service"]: each["url"] for each in stack["services"]} == urls

    taken = project.call("up", "--detach", "--name", "kept")
    assert taken.returncode == 2
    assert "down --name kept" in taken.stderr

    project.write("test_suite.py", "def test_other(redis_url, postgres_dsn):\n    print(redis_url, postgres_dsn)\n")
    assert project.call("run", "--", "--stack", "kept").returncode == 0
    with RedisConnection(Endpoint.parse("redis", urls["redis"])) as connection:
        assert connection.call("GET", "mine") == b"1", "a test run does not touch what a person works with"

    down = project.call("down", "--name", "kept")
    assert (down.returncode, down.stdout) == (0, "stack 'kept' is down\n")
    gone(Path(printed["run_folder"]))
    assert project.call("status").stdout == "no stack is running\n"


def test_a_dead_server_shows_in_the_status(project):
    up = project.call("up", "redis", "--detach", "--json")
    assert up.returncode == 0, up.stderr
    with RedisConnection(Endpoint.parse("redis", json.loads(up.stdout)["services"][0]["url"])) as connection:
        text = connection.call("INFO", "server").decode()
    pid = int(next(line for line in text.splitlines() if line.startswith("process_id:")).partition(":")[2])

    os.kill(pid, signal.SIGKILL)
    status = project.call("status", "--json")

    assert status.returncode == 1
    assert [each["alive"] for each in json.loads(status.stdout)[0]["services"]] == [False]


def test_a_service_that_was_asked_for_and_cannot_be_had_is_an_error(project):
    project.environ["REALSTACK_REDIS_VERSION"] = "99"

    for detach in ([], ["--detach"]):
        done = project.call("up", "redis", *detach)

        assert done.returncode == 4, done.stderr
        assert "99" in done.stderr
        assert "Traceback" not in done.stderr
    assert project.call("status").stdout == "no stack is running\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["up", "postgress"], 2, "did you mean 'postgres'?"),
        (["up", "--name", "x"], 2, "--detach"),
        (["up", "--detach", "--name", "a/b", "redis"], 2, "--name"),
        (["down", "--name", "nobody"], 1, "no running stack 'nobody'"),
        (["status", "--name", "nobody"], 1, "no running stack 'nobody'"),
        (["install"], 2, "postgres@15"),
        (["install", "mysql@8"], 2, "mysql"),
        (["install", "postgres@latest"], 2, "latest"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_answered_with_words(project, arguments, code, words):
    done = project.call(*arguments)

    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
