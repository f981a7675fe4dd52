"""The kit's own client, and what a test gets as ``real_clickhouse``."""

import asyncio
import datetime as dt
import decimal
import ipaddress
import math
import pickle
import uuid
import zoneinfo

import pytest

from realstack.errors import ClickHouseRefused, ServerUnreachable
from realstack.services.clickhouse.client import Client, parse_server_exception
from realstack.services.clickhouse.testing import ClickHouse

moment = dt.datetime.fromisoformat
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
VALUES = {
    "Int64": -(2**63),
    "UInt64": 2**64 - 1,
    "UInt256": 2**256 - 1,
    "String": 'it\'s \\ a\ttab\n\nand ünï "quoted" %s {x:String}',
    "Nullable(String)": None,
    "Float64": -1.25e-300,
    "Bool": True,
    "Date": dt.date(2024, 2, 29),
    "Date32": dt.date(1925, 1, 1),
    "DateTime": moment("2024-07-01 12:30:00"),
    "DateTime64(6)": moment("2024-07-01 12:30:00.123456"),
    "DateTime('Europe/Berlin')": dt.datetime(2024, 7, 1, 12, 30, tzinfo=BERLIN),
    "Decimal(38, 10)": decimal.Decimal("-1234567890123456789012345678.0123456789"),
    "UUID": uuid.UUID(int=2**100 + 1),
    "IPv4": ipaddress.ip_address("10.1.2.3"),
    "IPv6": ipaddress.ip_address("2001:db8::1"),
    "Array(Nullable(Int8))": [1, None, -1],
    "Array(Array(String))": [["a'b"], []],
    "Map(String, Array(UInt8))": {"a'": [1, 2]},
    "Map(UInt32, DateTime)": {7: moment("2024-01-01")},
    "Tuple(UInt8, Date)": (5, dt.date(2024, 1, 1)),
    "Tuple(id UInt8, at Nullable(DateTime64(3)))": (5, moment("2024-01-01 00:00:00.005")),
    "Enum8('one' = 1, 'it, (is)' = 2)": "it, (is)",
    "LowCardinality(Nullable(String))": "low",
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_of_every_type_comes_back_as_it_went_in(client, kind):
    client.query(f"CREATE TABLE t (v {kind}) ENGINE = Memory")
    client.insert_rows("t", [[VALUES[kind]]])
    client.insert_rows("t", [{"v": VALUES[kind]}])

    assert client.query("SELECT v FROM t") == [(VALUES[kind],)] * 2


@pytest.mark.parametrize("kind", [kind for kind in VALUES if kind not in ("Date32", "Nullable(String)")])
def test_a_value_of_every_type_can_be_a_parameter(client, kind):
    value = VALUES[kind]

    assert client.query(f"SELECT {{v:{kind}}}", {"v": value}) == [(value,)]
    assert client.query(f"SELECT CAST(%(v)s AS {kind})", {"v": value}) == [(value,)]
    assert client.query(f"SELECT CAST(%s AS {kind})", [value]) == [(value,)]


def test_null_and_numbers_beyond_json(client):
    assert client.query("SELECT {v:Nullable(String)}", {"v": None}) == [(None,)]
    assert client.query("SELECT inf, -inf") == [(math.inf, -math.inf)]
    assert math.isnan(client.query("SELECT nan")[0][0])
    client.query("CREATE TABLE t (f Float64) ENGINE = Memory")
    client.insert_rows("t", [[math.inf], [-math.inf]])
    assert client.query("SELECT f FROM t ORDER BY f") == [(-math.inf,), (math.inf,)]


def test_a_moment_with_a_zone_is_the_same_moment(client):
    client.query("CREATE TABLE t (v DateTime('Europe/Berlin')) ENGINE = Memory")
    value = dt.datetime(2024, 7, 1, 10, 30, tzinfo=dt.UTC)
    client.insert_rows("t", [[value]])

    assert client.query("SELECT v FROM t WHERE v = %(v)s", {"v": value}) == [(value,)]
    assert client.query("SELECT v FROM t WHERE v = {v:DateTime}", {"v": value}) == [(value,)]
    assert client.query("SELECT v FROM t WHERE has({v:Array(DateTime)}, v)", {"v": [value]}) == [(value,)]


def test_bytes_that_are_no_text_are_kept(client):
    client.query("CREATE TABLE t (s String) ENGINE = Memory")
    client.insert_rows("t", [[b"\xff\x00\xfe"]])

    assert client.query("SELECT hex(s) FROM t") == [("FF00FE",)]


def test_mappings_fill_the_columns_they_name(client):
    client.query("CREATE TABLE t (a UInt8, s String DEFAULT 'none') ENGINE = Memory")
    client.insert_rows("t", [{"a": 1}, {"s": "x", "a": 2}])
    client.insert_rows("t", [["y", 3]], column_names=["s", "a"])

    assert client.query("SELECT * FROM t ORDER BY a") == [(1, "none"), (2, "x"), (3, "y")]
    assert client.insert_rows("t", []) == 0
    with pytest.raises(ValueError, match="all mappings or all sequences"):
        client.insert_rows("t", [{"a": 1}, [2]])


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT %(a)s", {"b": 1}),
        ("SELECT %s", []),
        ("SELECT %s", [1, 2]),
        ("SELECT %(a)s", [1]),
        ("SELECT %s", {"a": 1}),
    ],
)
def test_parameters_that_do_not_fit_are_refused_before_anything_is_sent(client, sql, params):
    with pytest.raises(ValueError, match="params"):
        client.query(sql, params)


def test_an_object_without_a_literal_is_refused(client):
    with pytest.raises(TypeError, match="object"):
        client.query("SELECT %s", [object()])


def test_statements_of_every_kind_give_rows_or_none(client):
    assert client.query("CREATE TABLE t (a UInt8) ENGINE = Memory") == []
    assert client.query("  -- why\n/* and */ SELECT 1") == [(1,)]
    assert client.query("SHOW TABLES") == [("t",)]
    assert client.query("EXISTS TABLE t") == [(1,)]
    assert client.query("SELECT 1 WHERE 0") == []
    assert client.query("(SELECT 1)") == [(1,)]
    assert client.query("WITH 1 AS x SELECT x") == [(1,)]


def test_an_error_carries_code_name_and_statement_and_can_be_pickled(client):
    with pytest.raises(ClickHouseRefused) as caught:
        client.query("SELECT * FROM nope")
    copy = pickle.loads(pickle.dumps(caught.value))

    assert (copy.code, copy.name, copy.statement) == (60, "UNKNOWN_TABLE", "SELECT * FROM nope")
    assert "nope" in copy.message
    assert str(copy) == str(caught.value)


def test_text_that_is_no_exception_is_kept():
    assert parse_server_exception("gateway is down").message == "gateway is down"


def test_an_idle_connection_the_server_closed_is_not_used_again(client, server):
    client.query("SELECT 1")
    client._free[0].sock.shutdown(2)

    assert client.query("SELECT 1") == [(1,)]


async def test_the_fixture_client_serves_tests_with_and_without_a_loop(endpoint):
    clickhouse = ClickHouse(endpoint)
    await clickhouse.ensure_available()
    await clickhouse.execute("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    await clickhouse.insert("t", [(1, "x")])
    await clickhouse.insert_data("t", [{"a": 2, "s": "y"}])
    clickhouse.insert_sync("t", [[3]], ["a"])

    assert clickhouse.execute_sync("SELECT * FROM t ORDER BY a") == [(1, "x"), (2, "y"), (3, "")]
    assert await asyncio.gather(*(clickhouse.execute("SELECT {n:UInt8}", {"n": n}) for n in range(20))) == [
        [(n,)] for n in range(20)
    ]
    assert clickhouse.url.endswith(f"/{endpoint.database}")
    with pytest.raises(ServerUnreachable):
        clickhouse.reset_database_sync()
    clickhouse.close()


async def test_the_fixture_client_puts_its_database_back(endpoint, isolate):
    isolation = isolate()
    clickhouse = ClickHouse(endpoint, reset=isolation.reset)
    await clickhouse.execute("CREATE TABLE t (a UInt32) ENGINE = Memory")
    await clickhouse.reset_database()

    assert await clickhouse.execute("SHOW TABLES") == []
    clickhouse.close()


def test_a_place_where_nobody_answers_is_named(endpoint):
    import dataclasses

    nobody = Client(dataclasses.replace(endpoint, port=1, password="hunter2"))
    with pytest.raises(ServerUnreachable) as caught:
        nobody.query("SELECT 1")

    assert "hunter2" not in str(caught.value)
    assert not nobody.ping()
