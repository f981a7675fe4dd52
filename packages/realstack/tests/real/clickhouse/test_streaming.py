"""Big results as they come, errors that come late, clients that leave, many at once."""

import http.client
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from realstack.services.clickhouse.client import Client

SLOW = "SELECT sleepEachRow(0.1), number FROM numbers(200) SETTINGS max_block_size = 1"


def test_a_hundred_thousand_rows_come_in_chunks(endpoint):
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=20)
    connection.request("POST", "/", body="SELECT number FROM numbers(100000)")
    response = connection.getresponse()
    numbers = [int(line) for line in response]

    assert response.headers["Transfer-Encoding"] == "chunked"
    assert len(response.headers["X-ClickHouse-Exception-Tag"]) == 16
    assert numbers == list(range(100_000))
    connection.close()


def test_the_first_rows_come_before_the_last_are_made(endpoint):
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=20)
    connection.request("POST", "/", body=SLOW)
    response = connection.getresponse()

    assert response.readline() == b"0\t0\n"  # the whole takes 20 s, longer than the timeout
    response.close()
    connection.close()


def test_an_error_after_the_first_rows_stands_between_marks_and_breaks_the_reply(endpoint):
    sql = "SELECT throwIf(number = 5), sleepEachRow(0.01) FROM numbers(9) SETTINGS max_block_size = 1"
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=20)
    connection.request("POST", "/", body=sql)
    response = connection.getresponse()
    tag = response.headers["X-ClickHouse-Exception-Tag"].encode()
    with pytest.raises(http.client.IncompleteRead) as broken:
        response.read()
    connection.close()
    body = broken.value.partial

    assert response.status == 200
    head, mark, rest = body.partition(b"\r\n__exception__\r\n" + tag + b"\r\n")
    assert head.startswith(b"0\t0\n")
    assert mark
    message, length = rest.removesuffix(b" " + tag + b"\r\n__exception__\r\n").rsplit(b"\n", 1)
    assert message.startswith(b"Code: 395.")
    assert int(length) == len(message) + 1


def test_the_same_error_is_a_plain_one_when_the_client_waits(ask):
    sql = "SELECT throwIf(number = 5), sleepEachRow(0.01) FROM numbers(9) SETTINGS max_block_size = 1"
    answer = ask(sql, wait_end_of_query="1")

    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "395")


@pytest.mark.parametrize("wait", ["0", "1"], ids=["streamed", "whole"])
def test_a_query_ends_when_its_client_leaves(await_running, endpoint, wait):
    mark = f"left{wait}"
    sql = f"SELECT sleepEachRow(0.1), '{mark}' FROM numbers(200) SETTINGS max_block_size = 1"
    raw = socket.create_connection((endpoint.host, endpoint.port), timeout=10)
    raw.sendall(f"POST /?wait_end_of_query={wait}&query={quote(sql)} HTTP/1.1\r\n\r\n".encode())
    await_running(mark, wanted=True)
    raw.close()

    await_running(mark, wanted=False)


def test_a_killed_client_in_mid_upload_inserts_nothing(client, endpoint):
    client.query("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    raw = socket.create_connection((endpoint.host, endpoint.port), timeout=10)
    raw.sendall(f"POST /?database={endpoint.database}&query=INSERT+INTO+t+FORMAT+TSV HTTP/1.1\r\n".encode())
    raw.sendall(b"Content-Length: 10000000\r\n\r\n" + b"1\n" * 100_000)
    # a reset instead of an orderly end, as when a process is killed
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    raw.close()

    assert client.query("SELECT count() FROM t") == [(0,)]


def test_many_clients_at_once_get_their_own_answers(endpoint):
    def work(number: int) -> list[tuple]:
        client = Client(endpoint)
        rows = [client.query("SELECT {n:UInt32}, sum(number) FROM numbers(10000)", {"n": number})[0] for _ in range(10)]
        client.close()
        return rows

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(work, range(32)))

    assert answers == [[(number, 49995000)] * 10 for number in range(32)]


def test_a_slow_query_holds_up_nobody(client, endpoint, await_running):
    slow = Client(endpoint)
    thread = threading.Thread(target=lambda: slow.execute("SELECT sleep(1)"))
    thread.start()
    await_running("sleep(1)", wanted=True)

    assert client.query("SELECT 1") == [(1,)]
    assert thread.is_alive()
    thread.join()
    slow.close()


def test_writers_at_once_lose_no_row(client, endpoint):
    client.query("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")

    def write(number: int) -> None:
        writer = Client(endpoint)
        for step in range(10):
            writer.insert_rows("t", [[number * 100 + step]])
        writer.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    assert client.query("SELECT count(), uniqExact(a) FROM t") == [(80, 80)]


@pytest.mark.soak
def test_ten_million_rows_out_and_in_again(client, endpoint):
    client.query("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    body = client.execute("SELECT number AS a FROM numbers(10000000) FORMAT Native")
    client.post("/", body, {"database": str(endpoint.database), "query": "INSERT INTO t FORMAT Native"})

    assert client.query("SELECT count(), sum(a) FROM t") == [(10_000_000, 49999995000000)]
