import asyncio
import gc
import warnings
from pathlib import Path

import httpx
import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.services.app.clients import HttpClient
from realstack.services.app.server import AppServer

from .conftest import Serve


def connections_to(server: AppServer) -> list[str]:
    """Return the established connections to *server*, as the kernel lists them, this side of them."""
    wanted = f"0100007F:{server.endpoint.port:04X}"
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[2] == wanted and row[3] == "01"]


def assert_no_connection(server: AppServer) -> None:
    def look() -> None:
        if left := connections_to(server):
            raise NotReady(f"still open: {left}")

    wait_until(look, timeout_s=5)


async def test_every_method_reaches_the_app_with_its_options(echo: AppServer):
    async with HttpClient(echo.base_url, headers={"x-always": "yes"}) as client:
        for method in ("get", "post", "put", "patch", "delete", "options"):
            answer = (await getattr(client, method)("/a", params={"q": "1"})).json()
            assert (answer["method"], answer["path"], answer["query"]) == (method.upper(), "/a", "q=1")
        assert (await client.head("/a")).status_code == 200
        posted = (await client.post("/b", json={"n": 1}, headers={"x-once": "too"})).json()
        whole = (await client.request("GET", f"{echo.base_url}/whole")).json()
        async with client.stream("GET", "/s") as response:
            pieces = [piece async for piece in response.aiter_bytes()]

    assert posted["body"] == '{"n":1}'
    assert (posted["headers"]["x-always"], posted["headers"]["x-once"]) == ("yes", "too")
    assert whole["path"] == "/whole"
    assert b'"/s"' in b"".join(pieces)


async def test_a_proxy_of_the_environment_is_not_used(echo: AppServer, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async with HttpClient(echo.base_url) as client:
        assert (await client.get("/")).status_code == 200


async def test_many_requests_at_once_use_at_most_ten_connections(echo: AppServer):
    async with HttpClient(echo.base_url) as client:
        answers = await asyncio.gather(*(client.get(f"/{n}") for n in range(50)))

        assert [each.json()["path"] for each in answers] == [f"/{n}" for n in range(50)]
        assert 1 <= len(connections_to(echo)) <= 10


async def test_an_app_that_does_not_answer_ends_in_a_timeout(serve: Serve):
    source = """
        import asyncio

        async def app(scope, receive, send):
            assert scope["type"] == "http"
            if scope["path"] == "/hang":
                await asyncio.Event().wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
    """
    async with HttpClient(serve(source).base_url, timeout_s=0.2) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/hang")
        assert (await client.get("/")).status_code == 200


def test_one_client_serves_several_event_loops_in_turn_and_is_ended_from_outside(echo: AppServer):
    client = HttpClient(echo.base_url)

    async def ask() -> int:
        return (await client.get("/")).status_code

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [asyncio.run(ask()) for _ in range(3)] == [200, 200, 200]
        client.terminate()
        gc.collect()
    assert_no_connection(echo)


def test_a_client_is_ended_in_a_loop_that_rests(echo: AppServer):
    client = HttpClient(echo.base_url)
    with asyncio.Runner() as runner:
        runner.run(client.get("/"))
        assert connections_to(echo)

        client.terminate()

        assert_no_connection(echo)


async def test_a_client_is_ended_inside_a_running_loop(echo: AppServer):
    client = HttpClient(echo.base_url)
    await client.get("/")

    client.terminate()

    await asyncio.to_thread(assert_no_connection, echo)


async def test_after_a_restart_of_the_app_the_same_client_goes_on(serve: Serve):
    server = serve()
    async with HttpClient(server.base_url) as client:
        await client.get("/")
        await asyncio.to_thread(server.restart)

        assert (await client.get("/")).status_code == 200
