"""An exit code says what kind of end it was."""

import pytest

from realstack.cli.exits import FAILED, UNAVAILABLE, USAGE, code_of
from realstack.errors import ConfigInvalid, ConfigUnknown, RealstackError, ServiceUnavailable, StackGone

ENDS: tuple[tuple[RealstackError | type[RealstackError], int], ...] = (
    (ConfigUnknown(key="a", source="b"), USAGE),
    (ConfigInvalid(key="a", value="b", source="c", wanted="d"), USAGE),
    (ServiceUnavailable(service="redis", wanted="7", tried=(), remedy=""), UNAVAILABLE),
    (ServiceUnavailable, UNAVAILABLE),
    (StackGone(stack="x"), FAILED),
)


@pytest.mark.parametrize(("error", "code"), ENDS, ids=lambda value: getattr(value, "__name__", type(value).__name__))
def test_each_kind_of_error_has_its_exit_code(error: RealstackError, code: int) -> None:
    assert code_of(error) == code
