"""Keys, tenants, partitions and lifetimes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_backend.errors import ArgumentInvalid, NamespaceViolation
from agent_backend.memory.rules import MAX_TTL_S, MemoryScope, check_partition, check_ttl

scope = MemoryScope()
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
keys = st.text(alphabet=characters, min_size=1, max_size=40).map("aqe/{}".format)


@given(key=keys)
def test_every_text_inside_the_namespace_is_a_key(key):
    assert scope.check_key(key) == key


@pytest.mark.parametrize("key", ["other/x", "aqe", "AQE/x", " aqe/x", "/aqe/x", "aqe\\x"])
def test_a_key_outside_the_namespace_is_refused(key):
    with pytest.raises(NamespaceViolation, match="must start with 'aqe/' namespace") as refused:
        scope.check_key(key)
    assert (refused.value.key, refused.value.namespace) == (key, "aqe/")


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "not empty"),
        ("aqe/", "name after the namespace"),
        ("aqe/" + "x" * 252, "at most 255 bytes as UTF-8, it has 256"),
        ("aqe/" + "é" * 126, "at most 255 bytes as UTF-8, it has 256"),
        ("aqe/a\0b", "NUL"),
        ("aqe/\ud800", "surrogates"),
        (7, "be a text"),
        (b"aqe/x", "be a text"),
    ],
)
def test_a_key_no_store_can_keep_is_refused(key, says):
    with pytest.raises(ArgumentInvalid, match=says) as refused:
        scope.check_key(key)
    assert refused.value.argument == "key"
    assert len(refused.value.value) <= 80


def test_a_key_may_take_exactly_255_bytes():
    assert scope.check_key("aqe/" + "x" * 251)
    assert scope.check_key("aqe/" + "é" * 125 + "x")


@pytest.mark.parametrize("ttl", [0, -1, 0.0, -0.5, math.nan, math.inf, True, "60", MAX_TTL_S + 1])
def test_a_lifetime_that_is_none_is_refused(ttl):
    with pytest.raises(ArgumentInvalid, match="ttl="):
        check_ttl(ttl)


@pytest.mark.parametrize("ttl", [None, 0.001, 1, 3600, MAX_TTL_S])
def test_a_lifetime_is_any_time_above_zero_or_none(ttl):
    assert check_ttl(ttl) == ttl


@pytest.mark.parametrize("partition", ["", "x" * 51, "a\0b", "\udfff", None])
def test_a_partition_no_store_can_keep_is_refused(partition):
    with pytest.raises(ArgumentInvalid, match="partition="):
        check_partition(partition)


@pytest.mark.parametrize(
    ("field", "value"), [("tenant", ""), ("tenant", "a\0"), ("namespace", ""), ("namespace", "aqe")]
)
def test_a_scope_that_cannot_be_is_refused(field, value):
    with pytest.raises(ArgumentInvalid, match=field):
        MemoryScope(**{field: value})


@given(prefix=st.text(alphabet=characters, max_size=10).map("aqe/{}".format), key=keys)
def test_a_range_holds_exactly_the_keys_with_its_prefix(prefix, key):
    found = scope.range_of(prefix)

    assert (found.low <= key < found.high) == key.startswith(prefix)
    assert found.low.encode() < found.high.encode()  # also in the stores' order, which is that of the bytes


@given(key=keys)
def test_a_range_never_reaches_out_of_the_namespace(key):
    assert scope.range_of("a") == scope.range_of("") == scope.range_of("aqe/")
    assert scope.range_of("b") is None
    assert scope.range_of("aqe0") is None
    inner = MemoryScope(namespace="aqe/user/1/").range_of("aqe/")
    assert not inner.low <= "aqe/user/12/x" < inner.high
    assert inner.low <= "aqe/user/1/x" < inner.high


@pytest.mark.parametrize("last", ["\ud7ff", "\U0010ffff", "\U0010ffff\U0010ffff"])
def test_a_prefix_may_end_with_the_last_of_its_kind(last):
    found = scope.range_of("aqe/" + last)
    assert found.low <= "aqe/" + last + "x" < found.high
    assert found.high.encode()
