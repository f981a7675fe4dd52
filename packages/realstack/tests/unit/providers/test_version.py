import dataclasses

import pytest

from realstack.errors import ConfigInvalid
from realstack.providers.version import Wanted, numbers_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One wish, and which versions fulfil it."""

    wanted: str
    yes: tuple[str, ...]
    no: tuple[str, ...] = ()


CASES = (
    Case(wanted="", yes=("18.4", "15", "unknown")),
    Case(wanted="16", yes=("16.14", "16", "16.0"), no=("15.16", "17.16", "1.6", "unknown")),
    Case(wanted="16.4", yes=("16.4", "16.4.1"), no=("16.14", "16", "16.40")),
    Case(wanted=">=15", yes=("15.0", "15", "18.4"), no=("14.23",)),
    Case(wanted=">15", yes=("16.0", "18.4"), no=("15.18", "15")),
    Case(wanted="<=15", yes=("15.18", "10.23"), no=("16.0",)),
    Case(wanted=">=15,<17", yes=("15.1", "16.14"), no=("17.0", "14.9")),
    Case(wanted=">=15.4", yes=("15.4", "15.18", "16.0"), no=("15.3",)),
    Case(wanted="15, 16 ,18", yes=("15.18", "16.14", "18.4"), no=("17.10",)),
    Case(wanted="==16", yes=("16.14",), no=("17.1",)),
    Case(wanted="v7.2", yes=("7.2.4",), no=("7.0",)),
    Case(wanted="16.x", yes=("16.14",), no=("17.1",)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.wanted or "anything")
def test_a_wish_matches_the_versions_it_means_and_no_other(case):
    wanted = Wanted.parse(case.wanted)

    assert [version for version in case.yes if not wanted.matches(version)] == []
    assert [version for version in case.no if wanted.matches(version)] == []


@pytest.mark.parametrize("text", ["sixteen", ">=", "16;17", "16..4", "latest", ">= a"])
def test_a_wish_that_is_no_version_is_refused_by_name(text):
    with pytest.raises(ConfigInvalid) as caught:
        Wanted.parse(text, key="postgres.version", source="pyproject.toml")

    assert caught.value.key == "postgres.version"
    assert repr(text) in str(caught.value)
    assert "pyproject.toml" in str(caught.value)


def test_wanting_nothing_is_false_and_wanting_something_is_true():
    assert not Wanted.parse(None)
    assert not Wanted.parse(" , ")
    assert Wanted.parse("16")


def test_numbers_are_those_a_version_begins_with():
    assert numbers_of("18.4 (Debian 18.4-1)") == (18, 4)
    assert numbers_of("none") == ()
