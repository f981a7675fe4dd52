"""Named sessions: state between requests, one request at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from realstack.services.clickhouse.client import Client


def code(answer) -> str | None:
    return answer.headers["X-ClickHouse-Exception-Code"]


def test_a_session_keeps_temporary_tables_settings_and_database(ask, endpoint):
    ask("CREATE TEMPORARY TABLE mine (a UInt8)", session_id="s")
    ask("INSERT INTO mine FORMAT TSV\n5\n", session_id="s")
    ask("SET max_threads = 3", session_id="s")

    assert ask("SELECT a, getSetting('max_threads') FROM mine", session_id="s").text == "5\t3\n"
    assert code(ask("SELECT a FROM mine", session_id="other")) == "60"
    assert code(ask("SELECT a FROM mine")) == "60"


def test_use_lasts_and_a_named_database_is_for_one_request(ask, endpoint):
    ask("USE system", session_id="u")

    assert ask("SELECT currentDatabase()", session_id="u").text == f"{endpoint.database}\n"
    assert ask("SELECT currentDatabase()", session_id="u", database="").text == "system\n"


def test_a_setting_of_one_request_does_not_stay_in_the_session(ask):
    first = ask("SELECT getSetting('max_threads')", session_id="q").text
    ask("SET max_block_size = 111", session_id="q")

    assert ask("SELECT getSetting('max_threads')", session_id="q", max_threads="9").text == "9\n"
    assert ask("SELECT getSetting('max_block_size')", session_id="q", max_block_size="222").text == "222\n"
    assert ask("SELECT getSetting('max_threads')", session_id="q").text == first
    assert ask("SELECT getSetting('max_block_size')", session_id="q").text == "111\n"


def test_a_set_after_a_setting_of_one_request_wins(ask):
    ask("SELECT 1", session_id="w", max_threads="9")
    ask("SET max_threads = 5", session_id="w")
    ask("SELECT 1", session_id="w", max_threads="9")

    assert ask("SELECT getSetting('max_threads')", session_id="w").text == "5\n"


def test_session_check_wants_the_session_to_be_there(ask):
    assert code(ask("SELECT 1", session_id="absent", session_check="1")) == "372"
    ask("SELECT 1", session_id="present")
    assert ask("SELECT 1", session_id="present", session_check="1").status == 200


@pytest.mark.parametrize("timeout", ["x", "-1", "3601"])
def test_an_impossible_timeout_is_refused(ask, timeout):
    assert code(ask("SELECT 1", session_id="t", session_timeout=timeout)) == "374"


def test_a_session_ends_after_its_timeout(ask):
    ask("SELECT 1", session_id="short", session_timeout="0")

    assert code(ask("SELECT 1", session_id="short", session_check="1")) == "372"


def test_a_session_ends_when_it_is_told_to(ask):
    ask("SELECT 1", session_id="e", close_session="1")

    assert code(ask("SELECT 1", session_id="e", session_check="1")) == "372"


def test_a_busy_session_is_locked(ask, endpoint, await_running):
    slow = Client(endpoint)
    sql = "SELECT sleepEachRow(0.1), 'busy' FROM numbers(10) SETTINGS max_block_size = 1"
    thread = threading.Thread(target=lambda: slow.execute(sql, {"session_id": "busy"}))
    thread.start()
    await_running("'busy'")
    answer = ask("SELECT 1", session_id="busy")

    assert code(answer) == "373"
    assert "SESSION_IS_LOCKED" in answer.text
    assert ask("SELECT 1", session_id="free").status == 200
    thread.join()
    slow.close()


def test_a_session_is_free_as_soon_as_its_reply_is_there(endpoint):
    """Each request on a connection of its own: nothing but the reply says that the session may be used again."""
    clients = [Client(endpoint) for _ in range(2)]
    for number in range(300):
        clients[number % 2].execute("SELECT number FROM numbers(3)", {"session_id": "hot"})
    for client in clients:
        client.close()


def test_sessions_of_many_clients_run_at_once(endpoint):
    def work(number: int) -> list[tuple]:
        client = Client(endpoint)
        mine = {"session_id": f"many{number}"}
        client.execute("CREATE TEMPORARY TABLE mine (a UInt32)", mine)
        for value in range(5):
            client.execute(f"INSERT INTO mine VALUES ({number * 10 + value})", mine)
        rows = client.execute("SELECT arraySort(groupArray(a)) FROM mine", mine)
        client.close()
        return rows

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(16)))

    assert found == [f"[{','.join(str(n * 10 + v) for v in range(5))}]\n".encode() for n in range(16)]


def test_external_data_does_not_stay_in_a_session(ask):
    form = b'--x\r\nContent-Disposition: form-data; name="e"; filename="e"\r\n\r\n7\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    asked = {"query": "SELECT _1 FROM e", "e_types": "UInt8", "session_id": "x"}

    assert [ask(form, headers=headers, **asked).text for _ in range(2)] == ["7\n", "7\n"]
