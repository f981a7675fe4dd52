"""The asynchronous client of clickhouse-connect: many queries in flight, and one that is cancelled."""

import asyncio

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.services.clickhouse.client import Client

clickhouse_connect = pytest.importorskip("clickhouse_connect")
pytest.importorskip("aiohttp", reason="the asynchronous client needs clickhouse-connect[async]")


@pytest.fixture
async def cc(endpoint):
    client = await clickhouse_connect.get_async_client(
        host=endpoint.host, port=endpoint.port, database=endpoint.database
    )
    yield client
    await client.close()


async def test_rows_go_both_ways(cc):
    await cc.command("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    await cc.insert("t", [(number, "x\n\n") for number in range(5000)], column_names=["a", "s"])
    found = await cc.query("SELECT count(), sum(a), any(s) FROM t")

    assert found.result_rows == [(5000, 12497500, "x\n\n")]


async def test_queries_run_at_once(cc):
    found = await asyncio.gather(*(cc.query(f"SELECT {number}, count() FROM numbers(100000)") for number in range(30)))

    assert [result.result_rows for result in found] == [[(number, 100_000)] for number in range(30)]


async def test_a_stream_gives_every_row(cc):
    rows = 0
    async with await cc.query_rows_stream("SELECT number FROM numbers(100000)") as stream:
        async for _ in stream:
            rows += 1

    assert rows == 100_000


async def test_a_query_cancelled_in_mid_reply_ends_in_the_engine_and_the_client_goes_on(cc, endpoint):
    observer = Client(endpoint)
    sql = "SELECT sleepEachRow(0.1), 'cancel me' FROM numbers(200) SETTINGS max_block_size = 1"
    running = "SELECT count() FROM system.processes WHERE query LIKE '%cancel me%' AND query NOT LIKE '%processes%'"
    task = asyncio.create_task(cc.query(sql))

    def probe(*, wanted: int) -> None:
        if observer.query(running) != [(wanted,)]:
            raise NotReady(f"not {wanted} running")

    await asyncio.to_thread(wait_until, lambda: probe(wanted=1), timeout_s=5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await asyncio.to_thread(wait_until, lambda: probe(wanted=0), timeout_s=5)
    assert (await cc.query("SELECT 1")).result_rows == [(1,)]
    observer.close()
