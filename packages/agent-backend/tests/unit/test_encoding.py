"""The stored form of values."""

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_backend.errors import ValueNotSerialisable, ValueTooLarge
from agent_backend.memory.encoding import MAX_DEPTH, decode_value, encode_value

any_text = st.text(alphabet=st.characters(categories=None) | st.characters(categories=["Cs"]) | st.just("\0"))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(any_text, inner), max_leaves=20)


def same(left, right):
    """Equal, down to the type of a number and the sign of a zero."""
    return json.dumps(left) == json.dumps(right)


@given(value=values)
def test_every_json_value_comes_back_as_it_was(value):
    text = encode_value(value)

    assert same(decode_value(text), value)
    assert text.encode()  # can be sent to any store
    assert "\0" not in text
    assert encode_value(decode_value(text)) == text  # writing twice does not escape twice


@pytest.mark.parametrize("text", ["\0", "a\ud800b", "\udfff\ud800", "\\u0000", "\\ud800", "\\\\u0000", "\x1f\x7f"])
def test_nul_surrogates_and_what_looks_like_them_come_back(text):
    assert decode_value(encode_value({text: [text]})) == {text: [text]}


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (datetime.now(UTC), "$", "datetime"),
        ({"steps": [1, {"when": datetime.now(UTC)}]}, "$.steps[1].when", "datetime"),
        ({"a": {"b": (1, {2, 3})}}, "$.a.b[1]", "set"),
        ([1.0, math.nan], "$[1]", "nan"),
        ({"x": -math.inf}, "$.x", "-inf"),
        ({"x": b"raw"}, "$.x", "bytes"),
        ({"x": {(1, 2): 3}}, "$.x", "key of type tuple"),
    ],
)
def test_a_value_without_json_form_is_refused_with_its_place(value, path, reason):
    with pytest.raises(ValueNotSerialisable, match=reason) as refused:
        encode_value(value)
    assert refused.value.path == path


def test_a_value_that_contains_itself_is_refused():
    knot: dict[str, object] = {"name": "knot"}
    knot["inner"] = [knot]
    with pytest.raises(ValueNotSerialisable, match="contains itself") as refused:
        encode_value(knot)
    assert refused.value.path == "$.inner[0]"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 2000, 100_000])
def test_a_value_nested_too_deep_is_refused(depth):
    value: object = 1
    for _ in range(depth):
        value = [value]
    with pytest.raises(ValueNotSerialisable, match="nested deeper"):
        encode_value(value)


def test_a_value_may_be_as_deep_as_promised_and_as_wide_as_it_likes():
    deep: object = 1
    for _ in range(MAX_DEPTH):
        deep = {"in": deep}
    wide = [[n] for n in range(10 * MAX_DEPTH)]

    assert decode_value(encode_value(deep)) == deep
    assert decode_value(encode_value(wide)) == wide


def test_a_value_too_large_is_refused_with_both_figures():
    with pytest.raises(ValueTooLarge) as refused:
        encode_value("é" * 10, max_bytes=21)
    assert (refused.value.size_bytes, refused.value.max_bytes) == (22, 21)
    assert encode_value("é" * 10, max_bytes=22)
