import statistics
import time

import httpx
import pytest

from realstack.errors import AppResetFailed, ServerDied
from realstack.services.app import server as server_module

from .conftest import Serve

CACHING = """
    import asyncio

    cache = {}
    loops = []

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        loops.append(asyncio.get_running_loop())
        cache[scope["path"]] = True
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": ",".join(sorted(cache)).encode()})

    def drop():
        assert asyncio.get_running_loop() is loops[0]
        cache.clear()

    async def drop_async():
        await asyncio.to_thread(cache.clear)

    def drop_of_app(given):
        assert given is app
        cache.clear()

    def fail():
        raise LookupError("nothing to drop")

    async def hang():
        await asyncio.Event().wait()
"""


@pytest.mark.parametrize("hook", ["drop", "drop_async", "drop_of_app"])
def test_reset_runs_the_hook_of_the_app_in_its_loop(serve: Serve, hook):
    server = serve(CACHING, on_reset=f"shop:{hook}")
    assert httpx.get(f"{server.base_url}/a", trust_env=False).text == "/,/a"

    server.reset()

    assert httpx.get(f"{server.base_url}/b", trust_env=False).text == "/b"


def test_without_a_hook_reset_does_nothing(serve: Serve):
    server = serve(CACHING)

    server.reset()

    assert httpx.get(f"{server.base_url}/a", trust_env=False).text == "/,/a"


def test_a_hook_that_raises_is_reported_and_the_app_goes_on(serve: Serve):
    server = serve(CACHING, on_reset="shop:fail")

    for _ in range(2):
        with pytest.raises(AppResetFailed) as caught:
            server.reset()
    assert caught.value.reason == "LookupError: nothing to drop"
    assert "in fail" in caught.value.traceback
    assert httpx.get(f"{server.base_url}/a", trust_env=False).status_code == 200


def test_a_hook_that_does_not_end_is_given_up(serve: Serve, monkeypatch):
    monkeypatch.setattr(server_module, "_RESET_WITHIN_S", 0.2)
    server = serve(CACHING, on_reset="shop:hang")

    with pytest.raises(AppResetFailed, match=r"did not end within 0\.2 s"):
        server.reset()


def test_resetting_an_app_that_is_gone_says_that_it_died(serve: Serve):
    server = serve(CACHING, on_reset="shop:drop")
    server.stop()

    with pytest.raises(ServerDied):
        server.reset()


def test_a_reset_costs_less_than_a_millisecond(serve: Serve):
    server = serve(CACHING, on_reset="shop:drop")
    httpx.get(f"{server.base_url}/a", trust_env=False)
    costs = []
    for _ in range(200):
        began = time.perf_counter()
        server.reset()
        costs.append(time.perf_counter() - began)

    assert statistics.median(costs) < 0.001
