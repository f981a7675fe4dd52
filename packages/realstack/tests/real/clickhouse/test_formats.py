"""Rows in and out in every format, whatever bytes they hold."""

import io
import struct

import pytest

#: Values with everything that could end a row or a statement early.
NASTY = ["", "a\n\nb", "a;b", "tab\there", "quote'\"`", "back\\slash", "ünï", "FORMAT CSV\n\n", "-- x", "\x00\x01"]


@pytest.mark.parametrize(
    "form",
    [
        "Native", "RowBinary", "RowBinaryWithNames", "RowBinaryWithNamesAndTypes", "TabSeparated", "TSVWithNames",
        "TabSeparatedWithNamesAndTypes", "CSV", "CSVWithNames", "JSON", "JSONCompact", "JSONEachRow",
        "JSONCompactEachRow", "JSONColumns", "Values", "Arrow", "ArrowStream", "Parquet", "ORC", "Avro", "MsgPack",
        "CustomSeparated", "TSKV", "BSONEachRow",
    ],
)  # fmt: skip
def test_what_is_read_in_a_format_can_be_inserted_in_it(ask, client, form):
    ask("CREATE TABLE s (i UInt32, t String) ENGINE = MergeTree ORDER BY i")
    ask("CREATE TABLE d (i UInt32, t String) ENGINE = MergeTree ORDER BY i")
    client.insert_rows("s", list(enumerate(NASTY)))

    rows = ask(f"SELECT * FROM s ORDER BY i FORMAT {form}")
    written = ask(f"INSERT INTO d FORMAT {form}\n".encode() + rows.body)

    assert (rows.status, written.status) == (200, 200), rows.body + written.body
    assert client.query("SELECT * FROM d ORDER BY i") == list(enumerate(NASTY))


@pytest.mark.parametrize("gap", ["\n", " ", "\r\n", " \n"])
def test_rows_start_behind_the_line_end_and_may_begin_with_blanks(ask, gap):
    ask("CREATE TABLE t (a UInt32) ENGINE = Memory")
    number = struct.pack("<I", 0x2020200A)  # begins with a line end and blanks
    head = f"INSERT INTO t FORMAT RowBinary{gap}".encode()

    ask(head + (number if "\n" in gap else struct.pack("<I", 7)))
    assert ask("SELECT a FROM t").text == (f"{0x2020200A}\n" if "\n" in gap else "7\n")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (a) VALUES (1), (2)",
        "INSERT INTO t (a) VALUES (1)\n\n, (2)",
        "INSERT INTO t SELECT number + 1 FROM numbers(2)",
        "INSERT INTO t SETTINGS max_threads = 1 FORMAT CSV\n1\n2\n",
        '/* why */ INSERT INTO TABLE t(a) FORMAT JSONEachRow {"a": 1}\n\n{"a": 2}',
    ],
)
def test_every_way_of_inserting(ask, sql):
    ask("CREATE TABLE t (a UInt32) ENGINE = Memory")
    answer = ask(sql)

    assert answer.status == 200, answer.text
    assert ask("SELECT sum(a) FROM t").text == "3\n"


@pytest.mark.parametrize("sql", ["INSERT INTO t FROM INFILE '{}' FORMAT CSV", "SELECT 1 INTO OUTFILE '{}'"])
def test_files_of_the_client_are_left_alone(ask, tmp_path, sql):
    ask("CREATE TABLE t (a UInt32) ENGINE = Memory")
    file = tmp_path / "rows.csv"
    if "INFILE" in sql:
        file.write_text("1\n")

    assert ask(sql.format(file)).headers["X-ClickHouse-Exception-Code"] == "358"
    assert file.exists() == ("INFILE" in sql)
    assert ask("SELECT count() FROM t").text == "0\n"


def test_an_insert_with_no_rows_is_no_error(ask):
    ask("CREATE TABLE t (a UInt32) ENGINE = Memory")

    assert ask(query="INSERT INTO t FORMAT CSV").status == 200


def test_a_bad_row_is_the_engines_error_and_nothing_stays(ask):
    ask("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    refused = ask("INSERT INTO t FORMAT CSV\n1\nx\n")

    assert (refused.status, refused.headers["X-ClickHouse-Exception-Code"]) == (400, "117")
    assert ask("SELECT count() FROM t").text == "0\n"


def test_arrow_comes_out_as_arrow(ask):
    pyarrow = pytest.importorskip("pyarrow")
    body = ask("SELECT number AS n FROM numbers(100000) FORMAT Arrow").body

    table = pyarrow.ipc.open_file(io.BytesIO(body)).read_all()
    assert table.column("n").to_pylist() == list(range(100000))
