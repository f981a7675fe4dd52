"""Every field of a plan reaches pytest; what cannot be obeyed is refused before anything starts."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from realstack.errors import ConfigInvalid
from realstack.runner.categories import CATEGORIES, expression_of, find_categories
from realstack.runner.plan import RunPlan


@dataclasses.dataclass(frozen=True)
class Case:
    """One wish and the arguments that obey it."""

    id: str
    wish: dict[str, Any]
    arguments: tuple[str, ...]


CASES = (
    Case("one category", {"categories": find_categories(["integration"])}, ("-m", "integration")),
    Case(
        "two categories and markers",
        {"categories": find_categories(["database", "redis"]), "markers": "not slow"},
        ("-m", "((database or postgres) or (redis)) and (not slow)"),
    ),
    Case("every test", {"categories": find_categories(["unit", "all"])}, ()),
    Case("every test, narrowed", {"categories": find_categories(["all"]), "markers": "not slow"}, ("-m", "not slow")),
    Case("services", {"services": ("postgres", "redis")}, ("--realstack-only=postgres,redis",)),
    Case("pattern", {"pattern": "login"}, ("-k", "login")),
    Case("workers", {"workers": "4"}, ("-n", "4")),
    Case("switches", {"fast_fail": True, "failed_first": True}, ("-x", "--ff")),
    Case("coverage", {"min_coverage": 70.0}, ("--cov", "--cov-fail-under=70.0")),
    Case("off", {"real_services": False}, ("--no-real-services",)),
    Case("on", {"real_services": True, "require_services": True}, ("--real-services", "--require-services")),
    Case("loud", {"verbosity": 2}, ("-vv",)),
    Case("quiet", {"verbosity": -1}, ("-q",)),
    Case("the rest", {"files": (Path("/t/a.py"),), "extra": ("--durations=3",)}, ("--durations=3", "/t/a.py")),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_wish_reaches_pytest(case: Case) -> None:
    given = RunPlan(**case.wish).arguments(channel=Path("/run/s"))

    assert given[:3] == ["-p", "realstack.runner.recorder", "--realstack-channel=/run/s"]
    assert tuple(given[3:]) == case.arguments


def test_every_field_of_a_plan_is_obeyed() -> None:
    mentioned = {field for case in CASES for field in case.wish}

    assert mentioned | {"coverage"} == {field.name for field in dataclasses.fields(RunPlan)}


def test_an_unknown_category_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigInvalid, match="integration"):
        find_categories(["integraton"])


def test_a_category_is_taken_once() -> None:
    assert [category.name for category in find_categories(["redis", "unit", "redis"])] == ["redis", "unit"]


def test_no_category_and_no_marker_select_everything() -> None:
    assert expression_of((), None) == ""


def test_categories_have_names_of_their_own() -> None:
    assert len({category.name for category in CATEGORIES}) == len(CATEGORIES)


def test_a_test_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        RunPlan(files=(Path("/nowhere/test_x.py::test_a"),)).check()

    assert caught.value.key == "--test-file"
