import time

import pytest

from realstack.errors import AppStartFailed, AppTargetInvalid

from .conftest import ECHO, Serve

FAILING_LIFESPAN = """
    from contextlib import asynccontextmanager
    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(app):
        raise ConnectionError("no database at 5432")
        yield

    app = FastAPI(lifespan=lifespan)
"""
FAILING_BARE_LIFESPAN = """
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            raise ConnectionError("no database at 5432")
"""


def refusal(serve: Serve, *args, **options) -> AppTargetInvalid:
    with pytest.raises(AppTargetInvalid) as caught:
        serve(*args, **options)
    return caught.value


def failure(serve: Serve, *args, **options) -> AppStartFailed:
    with pytest.raises(AppStartFailed) as caught:
        serve(*args, **options)
    return caught.value


def test_a_missing_module_is_named_with_the_folder_and_a_near_one(serve: Serve, project):
    error = refusal(serve, target="shap:app")

    assert error.folder == str(project)
    assert error.reason == "there is no module 'shap'"
    assert error.remedy == "did you mean 'shop'?"
    assert str(project) in str(error)


def test_a_module_in_the_src_folder_is_pointed_to(serve: Serve, project):
    (project / "src" / "store").mkdir(parents=True)

    assert "PYTHONPATH='src'" in refusal(serve, target="store.main:app").remedy


def test_a_missing_name_comes_with_the_near_ones(serve: Serve):
    error = refusal(serve, target="shop:ap")

    assert error.reason == "module 'shop' has no 'ap'"
    assert error.remedy == "did you mean 'app'?"


def test_a_target_without_a_colon_is_refused(serve: Serve):
    assert "package.module:app" in refusal(serve, target="shop.app").remedy


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("app = 3", "is not callable"),
        ("def app(environ, start_response): ...", "WSGI"),
        ("def app(a, b, c, d, e): ...", "(scope, receive, send)"),
        ("def app():\n    return 7", "returned 7, which is no ASGI app"),
        ("def app():\n    return lambda environ, start_response: None", "WSGI"),
    ],
)
def test_what_is_no_asgi_app_is_refused_with_what_it_is(serve: Serve, source, words):
    assert words in refusal(serve, source).reason


def test_a_missing_on_reset_is_refused_at_the_start(serve: Serve):
    assert "has no 'drop'" in refusal(serve, on_reset="shop:drop").reason


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import not_installed_here", "No module named 'not_installed_here'"),
        ("raise ValueError('bad setting')", "ValueError: bad setting"),
        ("import sys\nsys.exit(5)", "SystemExit(5)"),
        ("def app(): raise KeyError('DATABASE_URL')", "KeyError: 'DATABASE_URL'"),
        (FAILING_LIFESPAN, "no database at 5432"),
        (FAILING_BARE_LIFESPAN, "ConnectionError: no database at 5432"),
    ],
)
def test_what_raises_at_the_start_is_reported_with_its_traceback(serve: Serve, source, words):
    error = failure(serve, source)

    assert words in error.reason
    assert "Traceback (most recent call last)" in error.log_tail
    assert "shop.py" in error.log_tail


def test_an_app_that_exits_at_its_start_is_reported_with_its_log_and_code(serve: Serve):
    error = failure(serve, "import os\nprint('giving up', flush=True)\nos._exit(9)")

    assert error.exit_code == 9
    assert "giving up" in error.log_tail


def test_a_process_that_dies_before_it_can_say_anything_is_noticed_at_once(serve: Serve):
    began = time.perf_counter()
    error = failure(serve, env={"PYTHONHOME": "/nonexistent"})

    assert time.perf_counter() - began < 10
    assert error.exit_code == 1
    assert "encodings" in error.log_tail


def test_the_log_of_an_earlier_start_is_not_shown_for_a_later_one(serve: Serve):
    failure(serve, "import os\nprint('first')\nos._exit(9)")

    assert "first" not in failure(serve, "import os\nprint('second')\nos._exit(9)").log_tail


def test_an_app_that_is_too_slow_is_ended_and_says_where_it_hung(serve: Serve, run):
    imports = failure(serve, "import threading; threading.Event().wait(30)", timeout_s=1.0)
    began = time.perf_counter()
    starts = failure(
        serve,
        """
        import asyncio

        async def app(scope, receive, send):
            await receive()
            await asyncio.Event().wait()
        """,
        timeout_s=1.0,
    )

    assert "still being imported" in imports.reason
    assert "lifespan start-up had not returned" in starts.reason
    # SIGKILL, after 3 s, is not needed
    assert time.perf_counter() - began < 3
    assert not [each for each in run.processes() if "shop" in each.name]


def test_a_health_path_that_is_broken_is_reported(serve: Serve):
    source = ECHO.replace('"status": 200', '"status": 500')

    assert failure(serve, source, health="/health").reason == "GET /health answers 500"
    with pytest.raises(ValueError, match="health='health' must start with '/'"):
        serve(health="health")


def test_a_port_that_is_taken_is_an_error_of_the_system(serve: Serve):
    taken = int(serve().base_url.rpartition(":")[2])

    with pytest.raises(OSError, match="in use"):
        serve(port=taken)
