import threading

import httpx

from realstack.services.app.server import AppServer

from .conftest import ECHO, Serve

FASTAPI = """
    import os
    from contextlib import asynccontextmanager
    from fastapi import FastAPI, WebSocket

    events = []

    @asynccontextmanager
    async def lifespan(app):
        events.append("up")
        yield
        print("lifespan is over")

    app = FastAPI(lifespan=lifespan)

    @app.get("/state")
    async def state():
        return {"events": events, "dsn": os.environ["DATABASE_URL"], "cwd": os.getcwd()}

    @app.websocket("/ws")
    async def ws(socket: WebSocket):
        await socket.accept()
        await socket.send_text(await socket.receive_text())
"""


def get(server: AppServer, path: str) -> httpx.Response:
    return httpx.get(server.base_url + path, trust_env=False)


def test_a_fastapi_app_answers_with_its_environment_folder_and_lifespan(serve: Serve, project):
    server = serve(FASTAPI, env={"DATABASE_URL": "postgresql://postgres@127.0.0.1/test"}, health="/state")

    state = get(server, "/state").json()

    assert state == {"events": ["up"], "dsn": "postgresql://postgres@127.0.0.1/test", "cwd": str(project)}
    server.stop()
    assert "lifespan is over" in server.log_text()


def test_an_app_that_knows_only_http_is_served_without_lifespan(serve: Serve):
    server = serve(ECHO)

    assert get(server, "/a?b=c").json()["query"] == "b=c"
    assert "The app has no lifespan" in server.log_text()


def test_a_factory_is_called_and_an_async_one_awaited_in_the_loop_of_the_app(serve: Serve):
    source = """
        import asyncio

        def answer(text):
            async def app(scope, receive, send):
                assert scope["type"] == "http"
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": text.encode()})
            return app

        def make(name="sync"):
            return answer(name)

        async def make_async():
            loop = asyncio.get_running_loop()
            async def app(scope, receive, send):
                assert asyncio.get_running_loop() is loop
                await answer("async")(scope, receive, send)
            return app
    """

    assert get(serve(source, target="shop:make"), "/").text == "sync"
    assert get(serve(source, target="shop:make_async"), "/").text == "async"
    assert get(serve(source, target="shop:make", factory=True), "/").text == "sync"


def test_an_app_inside_an_object_of_a_package_is_found(serve: Serve, project):
    (project / "pkg").mkdir()
    (project / "pkg" / "__init__.py").touch()
    (project / "pkg" / "main.py").write_text("import shop\nclass Holder:\n    inner = staticmethod(shop.app)\n")

    assert get(serve(target="pkg.main:Holder.inner"), "/x").json()["path"] == "/x"


def test_a_module_of_the_project_cannot_stand_in_for_one_of_the_launcher(serve: Serve, project):
    (project / "json.py").write_text("raise RuntimeError('not the json you want')")

    assert get(serve(), "/x").status_code == 200


def test_the_kit_is_found_whatever_the_environment_of_the_app_says(serve: Serve):
    assert get(serve(env={"PYTHONPATH": "elsewhere", "PYTHONNOUSERSITE": "1"}), "/x").status_code == 200


def test_what_the_app_prints_is_in_the_log_at_once_and_can_be_read_from_a_position(serve: Serve):
    server = serve(ECHO.replace("    assert scope[", "    print('seen', scope['path'])\n        assert scope["))
    position = server.log_position()

    get(server, "/one")

    assert "seen /one" in server.log_text(since=position)
    assert '"GET /one HTTP/1.1" 200' in server.log_tail(since=position)
    assert "seen /\n" not in server.log_text(since=position)
    assert len(server.log_tail(2).splitlines()) == 2


def test_apps_started_at_once_have_ports_of_their_own(serve: Serve, project):
    (project / "shop.py").write_text("")
    found: list[AppServer] = []
    threads = [threading.Thread(target=lambda: found.append(serve())) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len({server.base_url for server in found}) == 4
    assert {get(server, "/x").status_code for server in found} == {200}


def test_an_app_is_ready_within_20_ms_of_its_own_import(serve: Serve):
    servers = [serve() for _ in range(5)]

    # the best of five: what the machine does beside it is not the app server's
    assert min(each.ready_after_import_s for each in servers) < 0.02
    assert all(each.started_in_s > each.imported_in_s for each in servers)
    assert servers[0].provider == "uvicorn"
    assert servers[0].version.startswith("0.")


def test_health_waits_until_the_app_says_it_is_there(serve: Serve):
    source = """
        asked = []

        async def app(scope, receive, send):
            assert scope["type"] == "http"
            asked.append(scope["path"])
            status = 200 if len(asked) > 3 else 503
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": str(len(asked)).encode()})
    """

    assert int(get(serve(source, health="/health"), "/").text) == 5
    assert int(get(serve(source, health="/"), "/").text) == 2
