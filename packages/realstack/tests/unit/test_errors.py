"""Every error of the kit: survives pickling, shows its fields, has a text."""

import pickle
import typing
from collections.abc import Iterator

import pytest

from realstack import errors
from realstack.errors import RealstackError, ServiceUnavailable


def _all_errors(root: type[RealstackError] = RealstackError) -> Iterator[type[RealstackError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _all_errors(kind)


def _sample(annotation: object) -> object:
    """A value of the annotated type that shows itself in texts."""
    origin = typing.get_origin(annotation)
    if origin is tuple:
        inner = typing.get_args(annotation)
        return (_sample(inner[0]),) if inner[-1] is Ellipsis else tuple(_sample(each) for each in inner)
    simple: dict[object, object] = {str: "some text", int: 7, float: 1.5, bool: True}
    if annotation in simple:
        return simple[annotation]
    return _sample(next(each for each in typing.get_args(annotation) if each is not type(None)))


def _made(kind: type[RealstackError]) -> RealstackError:
    hints = typing.get_type_hints(kind)
    return kind(**{name: _sample(hints[name]) for name in kind.field_names()})


ALL = [kind for kind in _all_errors() if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling_with_its_fields_and_text(kind: type[RealstackError]):
    error = _made(kind)

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert str(again) == str(error)
    for name in kind.field_names():
        assert getattr(again, name) == getattr(error, name)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_reads_as_house_style_wants(kind: type[RealstackError]):
    first_line = str(_made(kind)).splitlines()[0]

    assert first_line
    assert "{" not in first_line, "a placeholder was left unfilled"
    assert not first_line.endswith(".")


def test_a_misspelt_field_is_a_type_error():
    with pytest.raises(TypeError, match="reazon"):
        ServiceUnavailable(service="redis", wanted="7", tried=(), remedy="", reazon="typo")  # type: ignore[call-arg]


def test_the_remedy_stands_on_a_line_of_its_own():
    error = ServiceUnavailable(service="Redis", wanted="9", tried=(("wheel", "has 6.2.14"),), remedy="ask for 6.2")

    assert str(error) == "Redis 9 is not available: wheel: has 6.2.14\n  Try: ask for 6.2"


def test_a_missing_field_is_a_type_error():
    with pytest.raises(TypeError, match="remedy"):
        ServiceUnavailable(service="redis", wanted="7", tried=())  # type: ignore[call-arg]
