"""The HTTP interface, byte by byte, as any client may use it."""

import json
import socket
import threading
import uuid

import pytest

from realstack.services.clickhouse.client import Client


def test_a_query_is_answered_with_the_headers_of_a_server(ask):
    answer = ask("SELECT 1 AS a", query_id="mine")

    assert (answer.status, answer.body) == (200, b"1\n")
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine"
    assert answer.headers["X-ClickHouse-Format"] == "TabSeparated"
    assert answer.headers["X-ClickHouse-Timezone"]
    assert answer.headers["X-ClickHouse-Server-Display-Name"]
    assert answer.headers["Content-Type"] == "text/tab-separated-values; charset=UTF-8"
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "1"


def test_a_query_without_an_id_gets_one(ask):
    assert uuid.UUID(ask("SELECT 1").headers["X-ClickHouse-Query-Id"])


def test_only_a_statement_with_a_result_names_a_format(ask):
    made = ask("CREATE TABLE t (a UInt8) ENGINE = Memory")
    inserted = ask("INSERT INTO t FORMAT CSV\n1\n2\n")
    shown = ask("SHOW TABLES")

    assert "X-ClickHouse-Format" not in made.headers
    assert "X-ClickHouse-Format" not in inserted.headers
    assert json.loads(inserted.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert shown.headers["X-ClickHouse-Format"] == "TabSeparated"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"body": "SELECT 1 AS a FORMAT JSONEachRow"}, "JSONEachRow"),
        ({"body": "SELECT 1 AS a FORMAT JSONEachRow SETTINGS max_threads = 1"}, "JSONEachRow"),
        ({"body": "SELECT 1 AS a -- FORMAT CSV", "default_format": "JSONEachRow"}, "JSONEachRow"),
        ({"body": "SELECT 1 AS a", "headers": {"X-ClickHouse-Format": "JSONEachRow"}}, "JSONEachRow"),
    ],
    ids=["clause", "clause and settings", "not a comment", "header"],
)
def test_the_format_comes_from_the_clause_the_parameter_or_the_header(ask, how, expected):
    answer = ask(**how)

    assert answer.headers["X-ClickHouse-Format"] == expected
    assert json.loads(answer.body) == {"a": 1}


@pytest.mark.parametrize("path", ["/ping", "/replicas_status", "/"])
def test_health_checks_say_ok_to_anybody(endpoint, path):
    import http.client

    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()

    assert (response.status, response.read()) == (200, b"Ok.\n")
    connection.close()


def test_an_unknown_path_is_404(ask):
    assert ask(path="/nope").status == 404


def test_query_parameters_are_typed_by_the_engine(ask):
    sql = "SELECT {n:UInt32} + 1, {s:String}, {l:Array(UInt8)}"

    assert ask(sql, param_n="41", param_s="a\\tb'; --", param_l="[1,2]").text == "42\ta\\tb\\'; --\t[1,2]\n"
    wrong = ask(sql, param_n="x", param_s="", param_l="[]")
    assert wrong.status == 500
    assert wrong.headers["X-ClickHouse-Exception-Code"] == "457"


def test_settings_of_a_request_end_with_it(ask):
    before = ask("SELECT getSetting('max_threads')").text

    assert ask("SELECT getSetting('max_threads')", max_threads="7").text == "7\n"
    assert ask("SELECT getSetting('max_threads')").text == before


def test_a_query_may_stand_in_the_url_in_the_body_or_in_both(ask):
    ask("CREATE TABLE t (a UInt8) ENGINE = Memory")

    ask(b"5\n6\n", query="INSERT INTO t FORMAT TSV")
    assert ask(query="SELECT sum(a) FROM t").text == "11\n"
    assert ask(method="GET", query="SELECT sum(a) FROM t").text == "11\n"


def test_get_reads_only(ask):
    ask("CREATE TABLE t (a UInt8) ENGINE = Memory")
    refused = ask(method="GET", query="INSERT INTO t VALUES (1)")

    assert refused.headers["X-ClickHouse-Exception-Code"] == "164"
    assert "method GET implies readonly" in refused.text
    assert ask("SELECT count() FROM t").text == "0\n"


def test_head_has_the_headers_and_no_body(ask):
    answer = ask(method="HEAD", query="SELECT 1")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["X-ClickHouse-Format"] == "TabSeparated"


def test_external_data_is_a_table_of_one_query(ask):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT sum(id), any(name) FROM people\r\n'
        b'--x\r\nContent-Disposition: form-data; name="people"; filename="p.csv"\r\n\r\n'
        b'1,"a\n\nb"\n2,"a\n\nb"\n\r\n--x--\r\n'
    )
    answer = ask(
        form,
        headers={"Content-Type": "multipart/form-data; boundary=x"},
        people_structure="id UInt32, name String",
        people_format="CSV",
    )

    assert answer.text == "3\ta\\n\\nb\n"
    assert ask("SELECT * FROM people").headers["X-ClickHouse-Exception-Code"] == "60"


def test_a_form_that_broke_off_is_refused(ask):
    form = b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1'

    assert ask(form, headers={"Content-Type": "multipart/form-data; boundary=x"}).headers[
        "X-ClickHouse-Exception-Code"
    ] == ("33")


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 100\r\n", b"1\n2\n"),
        (b"Transfer-Encoding: chunked\r\n", b"4\r\n1\n2\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"100\r\n1\n2\n"),
    ],
    ids=["too short", "no last chunk", "within a chunk"],
)
def test_a_body_that_breaks_off_inserts_nothing(ask, endpoint, head, body):
    ask("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    with socket.create_connection((endpoint.host, endpoint.port), timeout=10) as raw:
        target = f"POST /?database={endpoint.database}&query=INSERT+INTO+t+FORMAT+TSV HTTP/1.1\r\n".encode()
        raw.sendall(target + head + b"\r\n" + body)
        raw.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: raw.recv(65536), b""))

    assert said.startswith(b"HTTP/1.1 400")
    assert b"X-ClickHouse-Exception-Code: 33" in said
    assert ask("SELECT count() FROM t").text == "0\n"


def test_chunked_bodies_are_read_whole(ask, endpoint):
    ask("CREATE TABLE t (a UInt32) ENGINE = Memory")
    import http.client

    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=10)
    rows = (f"{number}\n".encode() for number in range(1000))
    connection.request("POST", f"/?database={endpoint.database}&query=INSERT+INTO+t+FORMAT+TSV", body=rows)
    assert connection.getresponse().status == 200
    connection.close()

    assert ask("SELECT count(), sum(a) FROM t").text == "1000\t499500\n"


def test_a_client_that_asks_first_is_told_to_go_on(endpoint):
    with socket.create_connection((endpoint.host, endpoint.port), timeout=10) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nContent-Length: 8\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 100 Continue")
        raw.sendall(b"SELECT 5")
        assert b"".join(iter(lambda: raw.recv(65536), b"")).endswith(b"\r\n\r\n5\n")


@pytest.mark.parametrize(
    "bad", [b"\x16\x03\x01 nonsense\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_no_request_is_refused_and_hurts_nobody(ask, endpoint, bad):
    with socket.create_connection((endpoint.host, endpoint.port), timeout=10) as raw:
        raw.sendall(bad)
        assert raw.recv(65536).startswith(b"HTTP/1.1 400")

    assert ask("SELECT 1").text == "1\n"


def test_a_query_id_in_use_is_refused(ask, endpoint, await_running):
    slow = Client(endpoint)
    sql = "SELECT sleepEachRow(0.1), 'twice' FROM numbers(10) SETTINGS max_block_size = 1"
    thread = threading.Thread(target=lambda: slow.execute(sql, {"query_id": "twice"}))
    thread.start()
    await_running("'twice'")

    assert ask("SELECT 1", query_id="twice").headers["X-ClickHouse-Exception-Code"] == "216"
    thread.join()
    slow.close()
