"""ClickHouse's own Python client, unchanged, on embedded ClickHouse."""

import datetime as dt
import decimal
import threading
import uuid
import zoneinfo
from concurrent.futures import ThreadPoolExecutor

import pytest

clickhouse_connect = pytest.importorskip("clickhouse_connect")
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError  # noqa: E402
from clickhouse_connect.driver.external import ExternalData  # noqa: E402

COMPRESSIONS = [False, True, "gzip", "lz4", "zstd"]


@pytest.fixture
def connect(endpoint):
    opened = []

    def open_client(**options):
        options.setdefault("database", endpoint.database)
        opened.append(clickhouse_connect.get_client(host=endpoint.host, port=endpoint.port, **options))
        return opened[-1]

    yield open_client
    for each in opened:
        each.close()
        each.close_connections()


@pytest.fixture
def cc(connect):
    return connect()


ALL_TYPES = """
    i Int64, u UInt256, s String, n Nullable(String), f Float64, b Bool, d Date, t DateTime64(3, 'Europe/Berlin'),
    t6 DateTime64(6), de Decimal(20, 5), id UUID, a Array(Nullable(Int32)), m Map(String, Array(UInt8)),
    tu Tuple(UInt8, String), e Enum8('one' = 1, 'two' = 2), l LowCardinality(String), fs FixedString(4), ip IPv4
"""
EPOCH = dt.datetime.fromisoformat("1970-01-01")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
ROW = (
    -(2**62),
    2**255,
    "a\n\nb",
    None,
    1.5,
    True,
    dt.date(2024, 2, 29),
    dt.datetime(2024, 7, 1, 12, 30, tzinfo=BERLIN),
    dt.datetime.fromisoformat("2024-07-01 12:30:00.123456"),
    decimal.Decimal("-1.50001"),
    uuid.UUID(int=7),
    [1, None],
    {"k": [1, 2]},
    (5, "y"),
    "two",
    "low",
    b"abcd",
)


def test_every_type_survives_the_round_trip(cc):
    cc.command(f"CREATE TABLE t ({ALL_TYPES}) ENGINE = MergeTree ORDER BY i")
    cc.insert("t", [(*ROW, "10.0.0.1")])
    got = cc.query("SELECT * FROM t").result_rows[0]

    assert got[:-1] == ROW
    assert str(got[-1]) == "10.0.0.1"


@pytest.mark.parametrize("before", ["1 AS i", "'a\n\nb' AS s", "NULL::Nullable(String) AS n", "toDecimal64(1, 2) AS d"])
@pytest.mark.parametrize("wait", [0, 1], ids=["streamed", "whole"])
def test_a_datetime_column_keeps_its_zone(cc, before, wait):
    """The engine leaves the zone of a bare DateTime out of Native; the front puts it back."""
    sql = f"SELECT {before}, toDateTime('2024-07-01 12:30:00', 'Europe/Berlin') AS t, 'after' AS z, toDateTime(0) AS u"
    rows = cc.query(f"{sql} FROM numbers(200000)", settings={"wait_end_of_query": wait}).result_rows

    assert len(rows) == 200_000
    assert {row[1:] for row in rows} == {(dt.datetime(2024, 7, 1, 12, 30, tzinfo=BERLIN), "after", EPOCH)}


def test_a_zone_behind_a_column_of_unknown_length_is_lost_and_nothing_else(cc):
    rows = cc.query("SELECT [1, 2], toDateTime('2024-07-01 12:30:00', 'Europe/Berlin'), 'after'").result_rows

    assert rows == [([1, 2], dt.datetime.fromisoformat("2024-07-01 10:30:00"), "after")]


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_rows_go_both_ways_in_every_compression(connect, compress):
    cc = connect(compress=compress)
    cc.command("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    rows = [(number, f"row {number}\n\n") for number in range(20_000)]
    summary = cc.insert("t", rows, column_names=["a", "s"])

    assert summary.written_rows == 20_000
    assert cc.query("SELECT * FROM t ORDER BY a").result_rows == rows


def test_parameters_on_either_side(cc):
    nasty = "it's \\ a\ttab\nand {x:String} %s"

    assert cc.query("SELECT {v:String}, {l:Array(Int8)}", parameters={"v": nasty, "l": [1, 2]}).result_rows == [
        (nasty, [1, 2])
    ]
    assert cc.query("SELECT %(v)s, %(l)s", parameters={"v": nasty, "l": [1, 2]}).result_rows == [(nasty, [1, 2])]


def test_form_encoded_parameters_may_be_longer_than_a_url(connect):
    cc = connect(form_encode_query_params=True)
    long = "x" * 2_000_000

    assert cc.query("SELECT length({v:String})", parameters={"v": long}).result_rows == [(2_000_000,)]


def test_settings_of_the_client_and_of_a_query(connect):
    cc = connect(settings={"max_threads": 3})

    assert cc.query("SELECT getSetting('max_threads')").result_rows == [(3,)]
    assert cc.query("SELECT getSetting('max_threads')", settings={"max_threads": 4}).result_rows == [(4,)]
    assert cc.query("SELECT getSetting('max_threads')").result_rows == [(3,)]


def test_its_session_keeps_temporary_tables(cc, connect):
    cc.command("CREATE TEMPORARY TABLE mine (a Int32)")
    cc.insert("mine", [[5]], column_names=["a"], column_type_names=["Int32"])

    assert cc.query("SELECT * FROM mine").result_rows == [(5,)]
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        connect().query("SELECT * FROM mine")


def test_the_server_refuses_a_session_used_twice_at_once(connect):
    clients = [connect(session_id="shared") for _ in range(2)]
    barrier = threading.Barrier(2)

    def use(client) -> int | None:
        barrier.wait(timeout=10)
        try:
            client.query("SELECT sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1").result_rows  # noqa: B018
        except DatabaseError as error:
            return error.code
        return None

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(use, clients), key=str) == [373, None]


def test_commands_tell_one_value_a_list_or_nothing(cc):
    assert cc.command("SELECT 5") == 5
    assert cc.command("SELECT 'a', 'b'") == ["a", "b"]
    assert cc.command("SELECT 1 WHERE 0") in ("", [], None) or cc.command("SELECT 1 WHERE 0") == ""
    assert cc.command("EXISTS TABLE nope") == 0
    assert not isinstance(cc.command("CREATE TABLE t (a Int8) ENGINE = Memory"), str)


def test_columns_are_known_without_rows(cc):
    cc.command("CREATE TABLE t (a Int8, b Nullable(String)) ENGINE = Memory")
    result = cc.query("SELECT * FROM t LIMIT 0")

    assert result.column_names == ("a", "b")
    assert [kind.name for kind in result.column_types] == ["Int8", "Nullable(String)"]


def test_raw_queries_and_inserts_in_formats_of_their_own(cc):
    import gzip

    cc.command("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    cc.raw_insert("t", ["a", "s"], b'1,"x\n\ny"\n', fmt="CSV")
    cc.raw_insert("t", ["a", "s"], gzip.compress(b'{"a": 2, "s": "z"}\n'), fmt="JSONEachRow", compression="gzip")
    cc.raw_insert("t", ["a", "s"], iter([b"3\tp\n", b"4\tq\n"]), fmt="TabSeparated")

    assert cc.raw_query("SELECT s FROM t ORDER BY a", fmt="TabSeparated") == b"x\\n\\ny\nz\np\nq\n"
    assert cc.raw_stream("SELECT a FROM t ORDER BY a", fmt="CSV").read() == b"1\n2\n3\n4\n"


def test_frames_and_arrow(cc):
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    cc.command("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    cc.insert_df("t", pandas.DataFrame({"a": [1, 2], "s": ["x", "y"]}))
    cc.insert_arrow("t", pyarrow.table({"a": pyarrow.array([3], pyarrow.uint32()), "s": ["z"]}))

    assert cc.query_df("SELECT * FROM t ORDER BY a").to_dict("list") == {"a": [1, 2, 3], "s": ["x", "y", "z"]}
    assert cc.query_arrow("SELECT a FROM t ORDER BY a").column("a").to_pylist() == [1, 2, 3]
    assert cc.query_np("SELECT a FROM t ORDER BY a").tolist() == [[1], [2], [3]]


def test_external_data(cc):
    rows = ExternalData(file_name="p.csv", data=b"1,one\n2,two\n", fmt="CSV", structure=["id UInt32", "name String"])
    rows.add_file(file_name="q.tsv", data=b"2\n", types="UInt32")
    sql = "SELECT name FROM p WHERE id IN (SELECT _1 FROM q)"

    assert cc.query(sql, external_data=rows).result_rows == [("two",)]


@pytest.mark.parametrize(
    "stream", ["query_rows_stream", "query_row_block_stream", "query_column_block_stream", "query_df_stream"]
)
def test_streams_give_every_row(cc, stream):
    with getattr(cc, stream)("SELECT number FROM numbers(100000)") as source:
        pieces = list(source)

    counted = {
        "query_rows_stream": lambda: len(pieces),
        "query_row_block_stream": lambda: sum(map(len, pieces)),
        "query_column_block_stream": lambda: sum(len(block[0]) for block in pieces),
        "query_df_stream": lambda: sum(map(len, pieces)),
    }[stream]()
    assert counted == 100_000


@pytest.mark.filterwarnings("ignore")
def test_an_error_in_mid_stream_is_a_stream_failure_and_the_client_goes_on(cc):
    sql = "SELECT sleepEachRow(0.01), throwIf(number = 20) FROM numbers(40)"
    with pytest.raises(StreamFailureError, match="Value passed to 'throwIf' function is non-zero"):
        _ = cc.query(sql, settings={"max_block_size": 1, "wait_end_of_query": 0}).result_set

    assert cc.command("SELECT 1") == 1


def test_errors_carry_code_and_name(cc):
    with pytest.raises(DatabaseError) as caught:
        cc.query("SELECT * FROM nope")

    assert (caught.value.code, caught.value.name) == (60, "UNKNOWN_TABLE")


def test_a_wrong_password_is_told(endpoint):
    with pytest.raises(DatabaseError, match="516"):
        clickhouse_connect.get_client(host=endpoint.host, port=endpoint.port, username="default", password="wrong")


def test_the_query_log_knows_what_ran(cc):
    cc.query("SELECT 'find me in the log'")
    cc.command("SYSTEM FLUSH LOGS")
    found = cc.query(
        "SELECT count() FROM system.query_log WHERE query LIKE '%find me in%' AND query NOT LIKE '%query_log%' "
        "AND type = 'QueryFinish'"
    )

    assert found.result_rows[0][0] >= 1


def test_clients_in_threads(connect):
    clients = [connect(compress=False) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: each.query("SELECT sum(number) FROM numbers(1000000)").result_rows, clients))

    assert found == [[(499999500000,)]] * 4


def test_its_dbapi(endpoint):
    from clickhouse_connect import dbapi

    connection = dbapi.connect(host=endpoint.host, port=endpoint.port, database=endpoint.database)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (a UInt32, s String) ENGINE = Memory")
    cursor.executemany("INSERT INTO t VALUES", [(1, "x"), (2, "y")])
    cursor.execute("SELECT * FROM t WHERE a > %(a)s", {"a": 1})

    assert cursor.fetchall() == [(2, "y")]
    connection.close()
