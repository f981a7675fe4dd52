"""What is not data: settings, users, functions, scripts, modules, the role, files, pauses, statistics."""

import shutil
import subprocess
from pathlib import Path

import pytest

from realstack.errors import IsolationUnavailable, RedisRefused
from realstack.isolation.redis import ResetIsolation
from realstack.services.redis.server import RedisServer
from realstack.services.redis.wire import Connection

SEVEN = "this server is older than Redis 7"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxmemory", "100mb"),
        ("maxmemory-policy", "allkeys-lfu"),
        ("notify-keyspace-events", "KEA"),
        ("slowlog-log-slower-than", "0"),
        ("latency-monitor-threshold", "1"),
        ("save", "900 1 300 10"),
        ("appendonly", "yes"),
        ("requirepass", "geheim"),
        ("min-replicas-to-write", "3"),
        ("maxclients", "40"),
        ("timeout", "5"),
        ("client-output-buffer-limit", "normal 1mb 1mb 5"),
        ("hz", "77"),
        ("proto-max-bulk-len", "2mb"),
        ("lua-time-limit", "50"),
    ],
)
def test_a_setting_is_put_back(isolation: ResetIsolation, app: Connection, name: str, value: str) -> None:
    app.call("CONFIG", "SET", name, value)
    assert isolation.verify() != ()

    outcome = isolation.reset()

    assert any(line.startswith("config") and name in line for line in outcome.changed), outcome
    assert outcome.leaks == ()
    assert isolation.verify() == ()
    assert app.call("SET", "k", "v") == b"OK"


def test_a_setting_is_put_back_though_the_test_reset_the_statistics(isolation: ResetIsolation, app: Connection) -> None:
    app.call("CONFIG", "SET", "timeout", 55)
    app.call("CONFIG", "RESETSTAT")

    isolation.reset()

    assert isolation.verify() == ()


def test_a_setting_made_in_a_transaction_or_by_one_who_left_is_put_back(
    isolation: ResetIsolation, app: Connection
) -> None:
    app.pipeline([("MULTI",), ("CONFIG", "SET", "timeout", 66), ("EXEC",), ("QUIT",)])

    isolation.reset()

    assert isolation.verify() == ()


def test_users_are_put_back(isolation: ResetIsolation, app: Connection) -> None:
    app.call("ACL", "SETUSER", "alice", "on", ">pw", "~a:*", "resetchannels", "&ch*", "+@read", "-get")
    app.call("ACL", "SETUSER", "bob")
    app.call("ACL", "SETUSER", "default", ">secret", "resetchannels")

    outcome = isolation.reset()

    assert "ACL user alice" in outcome.changed
    assert isolation.verify() == ()
    assert app.call("ACL", "USERS") == [b"default"]


def test_a_user_with_selectors_is_put_back(isolation: ResetIsolation, app: Connection, shared: RedisServer) -> None:
    if not shared.version.startswith("7"):
        pytest.skip(SEVEN)
    app.call("ACL", "SETUSER", "alice", "on", "%R~a:*", "(~b:* +get)", "(%W~c +set -del)")
    isolation.push("module")
    app.call("ACL", "SETUSER", "alice", "clearselectors", "allkeys")

    isolation.reset()

    assert isolation.verify() == ()
    isolation.pop("module")


def test_locking_everybody_out_ends_in_a_fresh_server(isolation: ResetIsolation, app: Connection) -> None:
    app.call("SET", "base", 1)
    isolation.push("module")
    app.call("ACL", "SETUSER", "default", "off", "nocommands")

    outcome = isolation.reset()

    assert any("restarted" in line for line in outcome.changed), outcome
    assert isolation.verify() == ()
    isolation.pop("module")
    assert isolation.verify() == ()


def test_scripts_are_forgotten(isolation: ResetIsolation, app: Connection) -> None:
    sha = app.call("SCRIPT", "LOAD", "return 1")
    assert isinstance(sha, bytes)

    outcome = isolation.reset()

    assert "scripts" in outcome.changed
    assert app.call("SCRIPT", "EXISTS", sha) == [0]
    with pytest.raises(RedisRefused, match="NOSCRIPT"):
        app.call("EVALSHA", sha, 0)


def test_scripts_of_a_baseline_stay_and_the_outcome_says_why(isolation: ResetIsolation, app: Connection) -> None:
    sha = app.call("SCRIPT", "LOAD", "return 2")
    assert isinstance(sha, bytes)
    isolation.push("module")
    isolation.reset()
    app.call("EVAL", "return 3", 0)

    outcome = isolation.reset()

    assert "cannot be read back" in outcome.reason
    assert app.call("EVALSHA", sha, 0) == 2
    isolation.pop("module")
    assert app.call("SCRIPT", "EXISTS", sha) == [0]


LIBRARY = "#!lua name=mine\nredis.register_function('f', function() return 1 end)"


def test_functions_are_put_back(isolation: ResetIsolation, app: Connection, shared: RedisServer) -> None:
    if not shared.version.startswith("7"):
        pytest.skip(SEVEN)
    app.call("FUNCTION", "LOAD", LIBRARY)

    outcome = isolation.reset()

    assert "functions" in outcome.changed
    assert app.call("FUNCTION", "LIST") == []
    app.call("FUNCTION", "LOAD", LIBRARY)
    isolation.push("module")
    app.call("FUNCTION", "FLUSH")
    isolation.reset()
    assert app.call("FCALL", "f", 0) == 1
    assert isolation.verify() == ()
    isolation.pop("module")
    assert app.call("FUNCTION", "LIST") == []


MODULE = """
typedef int (*get_api)(const char *, void *);
typedef int (*set_attributes)(void *, const char *, int, int);
int RedisModule_OnLoad(void *context, void **arguments, int count) {
    get_api get = (get_api)((void **)context)[0];
    set_attributes set;
    if (get("RedisModule_SetModuleAttribs", &set)) return 1;
    set(context, "mine", 1, 1);
    return 0;
}
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to build a module with")
    (tmp_path / "mine.c").write_text(MODULE)
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", "mine.so", "mine.c"], cwd=tmp_path, check=True)
    return f"{tmp_path}/mine.so"


def test_a_module_is_unloaded(isolation: ResetIsolation, app: Connection, module: str) -> None:
    app.call("MODULE", "LOAD", module)
    assert "module mine is new" in isolation.verify()

    outcome = isolation.reset()

    assert "module mine" in outcome.changed
    assert isolation.verify() == ()
    assert app.call("MODULE", "LIST") == []


def test_a_module_of_a_baseline_comes_back(
    isolation: ResetIsolation, app: Connection, shared: RedisServer, module: str
) -> None:
    app.call("MODULE", "LOAD", module, "an argument")
    isolation.push("module")
    app.call("MODULE", "UNLOAD", "mine")

    if shared.version.startswith("7"):
        assert "module mine" in isolation.reset().changed
        isolation.recover()
        assert isolation.verify() == ()
    else:
        with pytest.raises(IsolationUnavailable, match="nobody says where it came from"):
            isolation.reset()

    isolation.pop("module")
    assert isolation.verify() == ()


def test_a_replica_is_a_master_again(isolation: ResetIsolation, app: Connection) -> None:
    app.call("REPLICAOF", "127.0.0.1", 1)

    outcome = isolation.reset()

    assert "role slave" in outcome.changed
    assert isolation.verify() == ()
    assert app.call("SET", "k", "v") == b"OK"
    isolation.reset()


def test_files_a_test_saved_are_deleted(isolation: ResetIsolation, app: Connection, shared: RedisServer) -> None:
    before = {path.name for path in shared.folder.iterdir()}
    app.call("SET", "k", "v")
    app.call("SAVE")
    app.call("CONFIG", "SET", "dbfilename", "other.rdb") if shared.version.startswith("6") else None
    app.call("SAVE")
    app.call("CONFIG", "SET", "appendonly", "yes")
    app.call("CONFIG", "REWRITE")

    outcome = isolation.reset()

    assert {path.name for path in shared.folder.iterdir()} == before
    assert "file dump.rdb" in outcome.changed
    assert "file redis.conf" in outcome.changed
    assert isolation.verify() == ()


def test_what_debug_switched_off_is_on_again(isolation: ResetIsolation, app: Connection) -> None:
    app.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)

    isolation.reset()

    app.call("SET", "k", "v", "PX", 1)
    app.call("BLPOP", "nothing", 0.4)
    assert b"expired_keys:1" in bytes(app.call("INFO", "stats"))  # type: ignore[arg-type]
    isolation.reset()


def test_writes_paused_for_everybody_go_on(isolation: ResetIsolation, app: Connection) -> None:
    app.call("CLIENT", "PAUSE", 60_000, "WRITE")

    outcome = isolation.reset()

    assert outcome.leaks == ()
    assert outcome.seconds < 0.2
    assert app.call("SET", "k", "v") == b"OK"
    isolation.reset()


def test_statistics_and_logs_start_from_zero(isolation: ResetIsolation, app: Connection) -> None:
    app.call("CONFIG", "SET", "slowlog-log-slower-than", 0)
    app.pipeline([("GET", "k")] * 50 + [("AUTH", "nobody", "x"), ("NONSENSE",)])
    assert app.call("SLOWLOG", "LEN") != 0

    isolation.reset()

    assert app.call("SLOWLOG", "LEN") == 0
    assert app.call("ACL", "LOG") == []
    stats = app.call("INFO", "everything")
    assert isinstance(stats, bytes)
    assert b"keyspace_misses:0" in stats
    assert b"errorstat_" not in stats
    assert b"cmdstat_get" not in stats


def test_a_test_that_did_nothing_changes_nothing(isolation: ResetIsolation, app: Connection) -> None:
    outcome = isolation.reset()

    assert (outcome.changed, outcome.leaks, outcome.reason) == ((), (), "")
    assert outcome.seconds < 0.1
    assert app.call("PING") == b"PONG"
