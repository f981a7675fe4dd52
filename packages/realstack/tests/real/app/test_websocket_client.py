import asyncio
import gc
import json
import socket
import warnings

import pytest
import websockets

from realstack.errors import (
    WebSocketClosed,
    WebSocketMessageInvalid,
    WebSocketNotConnected,
    WebSocketRefused,
    WebSocketTimeout,
)
from realstack.services.app.clients import WebSocketClient
from realstack.services.app.server import AppServer

from .conftest import Serve
from .test_http_client import assert_no_connection


async def test_text_bytes_and_json_come_back(echo: AppServer):
    client = WebSocketClient(echo.base_url)
    await client.connect("/ws")
    await client.send("text")
    await client.send(b"\x00\xff")
    await client.send({"type": "message", "content": "Hello"})
    await client.send([1, 2])

    assert await client.receive() == "text"
    assert await client.receive() == b"\x00\xff"
    assert await client.receive_json() == {"type": "message", "content": "Hello"}
    assert await client.receive_json() == [1, 2]
    assert client.is_connected
    await client.close()
    await client.close()
    assert not client.is_connected


async def test_path_query_headers_and_subprotocol_reach_the_app(echo: AppServer):
    client = WebSocketClient(echo.base_url, headers={"x-always": "yes"})
    async with await client.connect("greet", {"Authorization": "Bearer t"}, subprotocols=["v2", "v1"]):
        headers = await client.receive_json()

        assert (headers["x-always"], headers["authorization"]) == ("yes", "Bearer t")
        assert client.subprotocol == "v2"
        assert "sec-websocket-extensions" not in headers
    async with WebSocketClient(echo.websocket_url) as plain:
        await plain.send("x")
        assert await plain.receive() == "x"
    await client.connect(f"{echo.websocket_url}/whole?a=b")
    assert client.url.endswith("/whole?a=b")
    await client.close()


async def test_the_app_server_compresses_no_messages_even_when_asked_to(echo: AppServer):
    async with websockets.connect(echo.websocket_url, compression="deflate") as connection:
        assert connection.response is not None
        assert "Sec-WebSocket-Extensions" not in connection.response.headers


async def test_a_message_larger_than_a_megabyte_arrives(echo: AppServer):
    async with WebSocketClient(echo.base_url) as client:
        await client.send("x" * 3_000_000)

        assert len(await client.receive()) == 3_000_000


async def test_events_are_received_by_count_by_type_by_predicate_and_by_time(echo: AppServer):
    async with WebSocketClient(echo.base_url) as client:
        for _ in range(4):
            await client.send("count")

        assert [each["type"] for each in await client.receive_events(6)] == ["tick"] * 5 + ["done"]
        assert len(await client.receive_events(until="done")) == 6
        assert len(await client.receive_events(until=lambda event: event.get("n") == 2)) == 3
        assert len(await client.receive_events(timeout_s=0.3)) == 9


async def test_using_a_client_that_is_not_connected_says_so(echo: AppServer):
    client = WebSocketClient(echo.base_url)

    with pytest.raises(WebSocketNotConnected, match="receive: this WebSocket client is not connected"):
        await client.receive()
    with pytest.raises(WebSocketNotConnected, match="connect"):
        await client.send("x")


async def test_a_refused_handshake_carries_status_and_body(echo: AppServer):
    client = WebSocketClient(echo.base_url)

    with pytest.raises(WebSocketRefused) as caught:
        await client.connect("/refuse")
    assert caught.value.status == 401
    assert caught.value.body == "no token, no socket"
    assert not client.is_connected


async def test_nobody_there_is_a_refusal_without_a_status(echo: AppServer):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(WebSocketRefused) as caught:
            await WebSocketClient(f"http://127.0.0.1:{nobody.getsockname()[1]}").connect("/ws")
    assert caught.value.status is None


async def test_somebody_who_never_answers_the_handshake_is_given_up():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(WebSocketTimeout, match="a handshake"):
            await WebSocketClient(f"http://127.0.0.1:{silent.getsockname()[1]}").connect("/ws", timeout_s=0.2)


async def test_silence_ends_in_a_timeout_that_says_what_came_and_the_connection_lives_on(echo: AppServer):
    async with WebSocketClient(echo.base_url) as client:
        await client.send({"type": "a"})
        with pytest.raises(WebSocketTimeout) as caught:
            await client.receive_events(2, timeout_s=0.2)

        assert caught.value.received == ('{"type": "a"}',)
        assert caught.value.waited_s == 0.2
        assert "2 event(s)" in str(caught.value)
        await client.send("still here")
        assert await client.receive() == "still here"


async def test_a_close_by_the_server_carries_code_and_reason(echo: AppServer):
    client = await WebSocketClient(echo.base_url).connect()
    await client.send("one")
    await client.send("bye")
    assert await client.receive() == "one"

    with pytest.raises(WebSocketClosed) as caught:
        await client.receive()
    assert (caught.value.code, caught.value.reason, caught.value.received) == (4001, "you said so", ("one",))
    assert not client.is_connected
    with pytest.raises(WebSocketClosed):
        await client.send("too late")
    await client.close()


async def test_what_is_no_json_is_shown(echo: AppServer):
    async with WebSocketClient(echo.base_url) as client:
        await client.send("no json")

        with pytest.raises(WebSocketMessageInvalid, match="no json"):
            await client.receive_json()


async def test_an_app_that_dies_closes_the_connection_and_nobody_hangs(serve: Serve):
    server = serve()
    client = await WebSocketClient(server.base_url).connect()
    await asyncio.to_thread(server.restart)

    with pytest.raises(WebSocketClosed) as caught:
        await client.receive()
    assert caught.value.code in (1006, 1012)
    await client.connect()
    await client.send(json.dumps({"n": 1}))
    assert await client.receive_json() == {"n": 1}
    await client.close()


def test_a_client_left_open_is_ended_after_its_loop_was_closed(echo: AppServer):
    client = WebSocketClient(echo.base_url)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(client.connect())
        client.terminate()
        gc.collect()

    assert_no_connection(echo)
    assert not client.is_connected


def test_a_client_left_open_is_ended_in_order_in_a_loop_that_rests(echo: AppServer):
    client = WebSocketClient(echo.base_url)
    with asyncio.Runner() as runner:
        runner.run(client.connect())
        client.terminate()

        assert_no_connection(echo)
