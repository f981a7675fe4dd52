"""Content codings both ways, whole and broken."""

import gzip
import importlib
import zlib

import pytest

ROWS = "".join(f"{number}\n" for number in range(20000)).encode()


def zstd():
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return pytest.skip("no zstd here")


CODINGS = {
    "gzip": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
    "lz4": (
        lambda data: pytest.importorskip("lz4.frame").compress(data),
        lambda data: pytest.importorskip("lz4.frame").decompress(data),
    ),
    "zstd": (lambda data: zstd().compress(data), lambda data: zstd().decompress(data)),
    "br": (
        lambda data: pytest.importorskip("brotli").compress(data),
        lambda data: pytest.importorskip("brotli").decompress(data),
    ),
}
every_coding = pytest.mark.parametrize("coding", CODINGS)


@every_coding
@pytest.mark.parametrize("wait", ["0", "1"], ids=["streamed", "whole"])
def test_a_reply_is_coded_as_the_client_accepts(ask, coding, wait):
    _, decompress = CODINGS[coding]
    decompress(CODINGS[coding][0](b""))  # skips where the codec is missing
    answer = ask(
        "SELECT number FROM numbers(20000) SETTINGS max_block_size = 5000",
        headers={"Accept-Encoding": coding},
        enable_http_compression="1",
        wait_end_of_query=wait,
    )

    assert answer.headers["Content-Encoding"] == coding
    assert ("Transfer-Encoding" in answer.headers) == (wait == "0")
    assert decompress(answer.body) == ROWS


@every_coding
def test_a_body_is_decoded_as_the_client_says(ask, coding):
    compress, _ = CODINGS[coding]
    ask("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    one, two = ROWS[: len(ROWS) // 2], ROWS[len(ROWS) // 2 :]
    body = compress(ROWS) if coding in ("br", "deflate") else compress(one) + compress(two)
    answer = ask(body, headers={"Content-Encoding": coding}, query="INSERT INTO t FORMAT TSV")

    assert answer.status == 200, answer.text
    assert ask("SELECT count(), max(a) FROM t").text == "20000\t19999\n"


@every_coding
@pytest.mark.parametrize(
    "harm", [lambda body: body[: len(body) // 2], lambda body: b"\x00" * len(body)], ids=["cut", "not it"]
)
def test_a_damaged_body_inserts_nothing(ask, coding, harm):
    compress, _ = CODINGS[coding]
    ask("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    answer = ask(harm(compress(ROWS)), headers={"Content-Encoding": coding}, query="INSERT INTO t FORMAT TSV")

    assert answer.headers["X-ClickHouse-Exception-Code"] in ("271", "354")
    assert ask("SELECT count() FROM t").text == "0\n"


def test_nothing_is_coded_when_it_is_not_wanted(ask):
    plain = ask("SELECT 1")
    off = ask("SELECT 1", headers={"Accept-Encoding": "gzip"}, enable_http_compression="0")
    unknown = ask("SELECT 1", headers={"Accept-Encoding": "snappy, gzip;q=0"}, enable_http_compression="1")

    assert [answer.headers["Content-Encoding"] for answer in (plain, off, unknown)] == [None, None, None]
    assert [answer.body for answer in (plain, off, unknown)] == [b"1\n"] * 3


def test_an_unknown_coding_is_named(ask):
    answer = ask(b"x", headers={"Content-Encoding": "rot13"}, query="INSERT INTO t FORMAT TSV")

    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (501, "48")
    assert "rot13" in answer.text


def test_block_compression_is_refused_in_words(ask):
    answer = ask("SELECT 1", compress="1")

    assert answer.status == 501
    assert "Accept-Encoding" in answer.text
