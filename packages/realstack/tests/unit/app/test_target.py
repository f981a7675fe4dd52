import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest

from realstack.services.app.order import Order
from realstack.services.app.target import TargetProblem, kind_of, load, required_arguments


async def app(scope, receive, send): ...


class App:
    async def __call__(self, scope, receive, send): ...

    async def method(self, scope, receive, send): ...


def factory(): ...


def factory_with_options(debug=False): ...


async def async_factory(): ...


def wsgi(environ, start_response): ...


@functools.wraps(app)
def wrapped(*args, **kwargs): ...


def anything(*args, **kwargs): ...


@dataclasses.dataclass(frozen=True)
class Case:
    id: str
    candidate: Any
    kind: str


CASES = [
    Case("a function", app, "app"),
    Case("an object", App(), "app"),
    Case("a method", App().method, "app"),
    Case("a wrapped function", wrapped, "app"),
    Case("a partial", functools.partial(app), "app"),
    Case("one that takes anything", anything, "app"),
    Case("a class", App, "factory"),
    Case("a function without arguments", factory, "factory"),
    Case("a function with defaults", factory_with_options, "factory"),
    Case("an async function without arguments", async_factory, "factory"),
    Case("a lambda", lambda: app, "factory"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_app_is_told_from_a_factory(case: Case):
    assert kind_of(case.candidate, factory=None) == case.kind


def test_what_the_user_says_it_is_decides():
    assert kind_of(anything, factory=True) == "factory"
    assert kind_of(factory, factory=False) == "app"


@pytest.mark.parametrize(
    ("candidate", "words"),
    [(wsgi, "WSGI"), (3, "not callable"), (lambda a: a, "signature"), (lambda a, b, c, d: a, "signature")],
)
def test_what_is_neither_is_refused_with_what_it_is(candidate: Callable[..., object], words: str):
    with pytest.raises(TargetProblem, match=words):
        kind_of(candidate, factory=None)


def test_arguments_are_counted():
    assert required_arguments(app) == 3
    assert required_arguments(factory_with_options) == 0
    assert required_arguments(3) == 0


def test_a_name_inside_a_module_is_found_and_a_missing_one_comes_with_near_ones():
    assert load("os.path:join.__name__") == "join"
    with pytest.raises(TargetProblem) as caught:
        load("json:dump_")
    assert "'dumps'" in caught.value.remedy
    with pytest.raises(TargetProblem, match=r"there is no module 'json\.nothing'"):
        load("json.nothing:x")


@pytest.mark.parametrize("text", ["json", "json:", ":app", ""])
def test_a_target_must_name_a_module_and_a_name(text: str):
    with pytest.raises(TargetProblem, match="not written as a module"):
        load(text)


def test_an_order_survives_the_command_line():
    order = Order(target="a:b", control="/tmp/x", port=0, factory=None, on_reset="a:c")

    assert Order.read(order.write()) == order
