import os
import signal
import socket
from pathlib import Path

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.errors import ConfigInvalid, ServerDied, ServerStartFailed, SocketPathTooLong, SqlFailed
from realstack.services.endpoint import Endpoint
from realstack.services.postgres import server as server_module
from realstack.services.postgres.shared_memory import remove_segment
from realstack.services.postgres.wire import Connection

# a connection that is refused leaves its socket to the garbage collector, which is made to run here and not later
pytestmark = [
    pytest.mark.usefixtures("collected"),
    pytest.mark.filterwarnings(
        "ignore:unclosed:ResourceWarning", "ignore:.*socket.socket.*:pytest.PytestUnraisableExceptionWarning"
    ),
]


def setting(server, name):
    return server.connection.query("select current_setting($1)", name)[0][0]


def is_dead(server):
    def probe():
        if server.is_alive():
            raise NotReady("it lives")

    wait_until(probe, timeout_s=10)


def test_a_server_answers_on_its_socket_and_its_port(each_lab):
    server = each_lab.start()
    by_port = Endpoint.parse("postgres", server.endpoint.url)

    assert by_port.socket is None
    with Connection(by_port) as connection:
        assert connection.query("select current_user, current_database()") == [("postgres", "postgres")]
    assert server.connection.server_version == server.version == each_lab.installation.version
    assert 0 < server.started_in_s < 5
    assert server.endpoint.host == "127.0.0.1"
    server.check()


def test_a_server_can_do_what_suites_expect_of_one(each_lab):
    connection = each_lab.start().connection
    connection.script("create table t (a int)")
    connection.script("begin; insert into t values (1); prepare transaction 'one'")
    connection.query("commit prepared 'one'")
    connection.script("create publication p for all tables")
    rows = connection.query(
        "select rolsuper, current_setting('wal_level'), current_setting('server_encoding'), current_setting('timezone')"
        " from pg_roles where rolname = current_user"
    )

    assert connection.query("select a from t") == [("1",)]
    assert rows == [("t", "logical", "UTF8", "UTC")]


def test_settings_of_the_user_win_and_alter_system_wins_over_them(lab):
    server = lab.start(settings={"work_mem": "7MB", "shared_buffers": "48MB", "fsync": "on"})
    asked = [setting(server, name) for name in ("work_mem", "shared_buffers", "fsync")]
    server.connection.query("alter system set work_mem = '9MB'")
    server.connection.query("select pg_reload_conf()")

    def reloaded():
        with server.connect() as connection:
            if connection.query("show work_mem") != [("9MB",)]:
                raise NotReady("not reloaded")

    assert asked == ["7MB", "48MB", "on"]
    wait_until(reloaded, timeout_s=5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shared_bufers": "1GB"}, '"shared_bufers"'),
        ({"work_mem": "a lot"}, '"work_mem"'),
    ],
)
def test_a_setting_the_server_refuses_is_an_error_with_its_words(lab, settings, said):
    with pytest.raises(ServerStartFailed) as caught:
        lab.start(settings=settings)

    assert said in caught.value.log_tail
    assert caught.value.version == lab.installation.version
    assert said in str(caught.value)


def test_a_port_that_is_no_number_is_refused_before_anything_starts(lab):
    with pytest.raises(ConfigInvalid) as caught:
        lab.start(settings={"port": "zero"})

    assert caught.value.value == "'zero'"


def test_a_wanted_port_is_used_and_a_taken_one_is_an_error(lab):
    first = lab.start()
    with pytest.raises(ServerStartFailed) as caught:
        lab.start(port=first.endpoint.port)

    assert "Address already in use" in caught.value.log_tail
    first.stop()
    assert lab.start(port=first.endpoint.port).endpoint.port == first.endpoint.port


def test_a_port_somebody_takes_first_is_replaced_by_another(lab, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        free = server_module._free_ports()
        monkeypatch.setattr(server_module, "_free_ports", lambda: iter((number, number, next(free))))
        server = lab.start()

    assert server.endpoint.port != number
    assert server.connection.query("select 1") == [("1",)]


def test_a_socket_path_that_is_too_long_is_refused_before_anything_starts(lab, tmp_path):
    with pytest.raises(SocketPathTooLong):
        lab.start(socket_folder=tmp_path / ("x" * 100))


def test_a_server_that_dies_is_noticed_with_its_last_words(lab):
    server = lab.start()
    with pytest.raises(SqlFailed):
        server.connection.query("select * from last_words")
    os.kill(server.pid, signal.SIGKILL)
    is_dead(server)
    with pytest.raises(ServerDied) as caught:
        server.check()

    assert caught.value.exit_code == -signal.SIGKILL
    assert "last_words" in caught.value.log_tail


def test_a_killed_server_starts_again_on_the_same_port_with_what_was_committed(lab):
    server = lab.start(settings={"synchronous_commit": "on"})
    port = server.endpoint.port
    server.connection.script("create table t as select 42 as a")
    os.kill(server.pid, signal.SIGKILL)
    is_dead(server)
    server.restart()

    assert server.endpoint.port == port
    assert server.connection.query("select a from t") == [("42",)]


def test_a_server_survives_the_death_of_one_of_its_sessions(lab):
    server = lab.start()
    with server.connect() as victim:
        os.kill(victim.pid, signal.SIGKILL)

    def answers():
        try:
            with server.connect() as connection:
                connection.query("select 1")
        except Exception as error:
            raise NotReady(str(error)) from error

    wait_until(answers, timeout_s=10)
    assert server.is_alive()


def test_a_database_that_is_not_there_is_the_servers_own_error_and_leaves_nothing_running(lab):
    before = {each.pid for each in lab.supervisor.processes()}
    with pytest.raises(SqlFailed) as caught:
        lab.start(database="nowhere")

    assert caught.value.sqlstate == "3D000"
    assert {each.pid for each in lab.supervisor.processes()} == before


def test_a_server_that_takes_too_long_is_ended(lab):
    before = {each.pid for each in lab.supervisor.processes()}
    with pytest.raises(ServerStartFailed) as caught:
        lab.start(timeout_s=0.001)

    assert "no answer within" in caught.value.reason
    assert {each.pid for each in lab.supervisor.processes()} == before


def test_data_that_is_broken_is_an_error_with_the_servers_words(lab):
    data = lab.cluster()
    (data / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(ServerStartFailed) as caught:
        lab.start(data)

    assert "pg_control" in caught.value.log_tail


def test_an_error_shows_only_what_this_start_wrote(lab):
    with pytest.raises(ServerStartFailed):
        lab.start(settings={"first_try": "1"})
    with pytest.raises(ServerStartFailed) as caught:
        lab.start(settings={"second_try": "1"})

    assert "second_try" in caught.value.log_tail
    assert "first_try" not in caught.value.log_tail


@pytest.mark.parametrize("keep_data", [True, False])
def test_a_server_stops_though_clients_are_connected(lab, keep_data):
    server = lab.start()
    with server.connect() as client:
        client.script("begin; create table t (a int)")
        server.stop(keep_data=keep_data)

    assert not server.is_alive()
    assert not (server.data / "postmaster.pid").exists()


def test_the_log_of_one_database_can_be_told_from_the_others(lab):
    server = lab.start()
    for name in ("test_gw0", "test_gw1"):
        server.connection.query(f"create database {name}")
        with server.connect(name) as connection, pytest.raises(SqlFailed):
            connection.script(f"create role x password 'sesame' in role nobody_in_{name}")
    os.kill(server.pid, signal.SIGKILL)
    is_dead(server)
    with pytest.raises(ServerDied) as caught:
        server.check(database="test_gw0")

    assert "nobody_in_test_gw0" in caught.value.log_tail
    assert "nobody_in_test_gw1" not in caught.value.log_tail
    assert "sesame" not in caught.value.log_tail


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux shows what a process has mapped")
def test_shared_memory_lies_in_the_data_folder_and_goes_with_it(lab):
    server = lab.start()
    mapped = Path(f"/proc/{server.pid}/maps").read_text()

    assert "/dev/shm/PostgreSQL" not in mapped
    assert f"{server.data}/pg_dynshmem/" in mapped


@pytest.mark.skipif(not Path("/proc/sysvipc/shm").exists(), reason="only Linux lists its System V segments")
def test_stopping_a_server_that_was_killed_removes_the_segment_it_left(lab):
    server = lab.start()
    used = segments_of(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    is_dead(server)
    left = segments_of(server.pid)
    server.stop()

    assert len(used) == len(left) == 1
    assert segments_of(server.pid) == []


def test_no_segment_of_a_running_server_is_removed(lab):
    server = lab.start()

    assert remove_segment(server.data, server_pid=server.pid, timeout_s=0.01) is False
    assert len(segments_of(server.pid)) == 1


def segments_of(pid):
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [fields for line in lines if (fields := line.split())[4] == str(pid)]
