"""Patterns, against a matcher written in the plainest way."""

import functools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_backend.memory.globs import parse_glob

texts = st.text(alphabet="ab?*_%[]\\^.$\n/é\U0001f600", max_size=8)


def fits(pattern: str, text: str, one: str = "?") -> bool:
    @functools.cache
    def rest(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "*":
            return any(rest(p + 1, later) for later in range(t, len(text) + 1))
        return t < len(text) and pattern[p] in (one, text[t]) and rest(p + 1, t + 1)

    return rest(0, 0)


@given(pattern=texts, text=texts)
def test_a_glob_matches_what_the_plain_matcher_matches(pattern, text):
    assert parse_glob(pattern).matches(text) == fits(pattern, text)


@given(pattern=texts, text=texts)
def test_the_underscore_can_stand_for_one_character_instead(pattern, text):
    assert parse_glob(pattern, one_character="_").matches(text) == fits(pattern, text, one="_")


@given(text=texts)
def test_text_without_wildcards_matches_itself_only(text):
    literal = text.replace("*", "").replace("?", "")
    assert parse_glob(literal).matches(literal)
    assert not parse_glob(literal).matches(literal + "x")


@given(pattern=texts, text=texts)
def test_every_match_starts_with_the_prefix(pattern, text):
    glob = parse_glob(pattern)
    if glob.matches(text):
        assert text.startswith(glob.prefix)
    if glob.is_prefix_only:
        assert glob.matches(text) == text.startswith(glob.prefix)


@pytest.mark.parametrize("pattern", ["*", "a*b", "a?b", "*\n*", "a\n*", "a**b", "?\nb"])
def test_a_line_break_is_a_character_like_any_other(pattern):
    assert parse_glob(pattern).matches("a\nb")
    assert not parse_glob("a").matches("a\n")


@pytest.mark.parametrize("literal", ["[ae]", "{a,b}", "\\*x", "a%", "a_b", "^$", "(?i)a", "a|b", "a+"])
def test_everything_but_the_two_wildcards_is_literal(literal):
    glob = parse_glob(literal.replace("*", "").replace("?", ""))
    assert glob.matches(literal.replace("*", "").replace("?", ""))
    assert not glob.matches("a")


def test_a_hostile_pattern_takes_no_exponential_time():
    glob = parse_glob("*a" * 60 + "*b")
    started = time.perf_counter()

    assert not glob.matches("a" * 255)
    assert time.perf_counter() - started < 0.5
