"""Apps to start: a project folder of each test's own, and one supervisor for all of them."""

import os
import secrets
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realstack._core.supervision import Supervision, start_supervisor
from realstack.services.app.server import AppServer, start_app

ECHO = """
    import json

    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            return await echo(scope, receive, send)
        assert scope["type"] == "http"
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = {"method": scope["method"], "path": scope["path"], "query": scope["query_string"].decode(),
                  "headers": {k.decode(): v.decode() for k, v in scope["headers"]}, "body": body.decode()}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    async def echo(scope, receive, send):
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] == "/refuse":
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no token, no socket"})
            return
        subprotocol = (scope["subprotocols"] or [None])[0]
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        if scope["path"] == "/greet":
            headers = {k.decode(): v.decode() for k, v in scope["headers"]}
            await send({"type": "websocket.send", "text": json.dumps(headers)})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text == "bye":
                await send({"type": "websocket.close", "code": 4001, "reason": "you said so"})
                return
            if text == "count":
                for number in range(5):
                    await send({"type": "websocket.send", "text": json.dumps({"type": "tick", "n": number})})
                await send({"type": "websocket.send", "text": json.dumps({"type": "done"})})
            elif text is not None:
                await send({"type": "websocket.send", "text": text})
            else:
                await send({"type": "websocket.send", "bytes": message["bytes"]})
"""

Serve = Callable[..., AppServer]


@pytest.fixture(scope="session")
def run() -> Iterator[Supervision]:
    supervision = start_supervisor(Path("/tmp") / f"rs-app-{secrets.token_hex(4)}")
    yield supervision
    supervision.end()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def serve(run: Supervision, project: Path) -> Iterator[Serve]:
    """Return a function that writes ``shop.py`` with the given source and serves ``shop:app`` from it."""
    started: list[AppServer] = []

    def start(
        source: str = ECHO, *, target: str = "shop:app", env: dict[str, str] | None = None, **options
    ) -> AppServer:
        (project / "shop.py").write_text(textwrap.dedent(source))
        server = start_app(
            target,
            env={**os.environ, **(env or {})},  # noqa: TID251  the app gets what the test has
            folder=run.run_folder,
            cwd=project,
            supervisor=run,
            log=project / "app.log",
            **{"timeout_s": 20.0, **options},
        )
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def echo(run: Supervision, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """Return an app that answers HTTP with what it was asked, and WebSocket messages with themselves."""
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.py").write_text(textwrap.dedent(ECHO))
    env = dict(os.environ)  # noqa: TID251  the app gets what the test has
    server = start_app("echo:app", env=env, folder=run.run_folder, cwd=folder, supervisor=run, log=folder / "log")
    yield server
    server.stop()
