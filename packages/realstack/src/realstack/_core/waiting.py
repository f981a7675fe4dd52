"""Waiting for a state, with a deadline and the last reason; never a sleep and a hope."""

from collections.abc import Callable
from typing import TypeVar

from realstack._core.clock import SYSTEM_CLOCK, Clock

T = TypeVar("T")


class NotReady(Exception):
    """The probe reached nobody, or somebody who is still starting."""


class Late(Exception):
    """A probe was still not ready at its deadline; callers turn it into an error of their own.

    Attributes:
        waited_s: seconds from the first call to the last.
        attempts: how many calls were made.
        last: what the last ``NotReady`` said.
    """

    def __init__(self, *, waited_s: float, attempts: int, last: str) -> None:
        super().__init__(f"not ready after {attempts} attempt(s) in {waited_s:.2f} s: {last}")
        self.waited_s, self.attempts, self.last = waited_s, attempts, last


def wait_until(
    probe: Callable[[], T],
    *,
    timeout_s: float,
    clock: Clock = SYSTEM_CLOCK,
    pause_s: float = 0.001,
    max_pause_s: float = 0.05,
) -> T:
    """Call *probe* until it returns, and return what it returned.

    The pause starts small, so that something ready within milliseconds is seen within milliseconds, and grows by half
    each time up to *max_pause_s*.

    Raises:
        Late: *probe* still raised ``NotReady`` after *timeout_s* seconds. Any other exception passes through at once.
    """
    started = clock.now_s()
    attempts = 0
    while True:
        attempts += 1
        try:
            return probe()
        except NotReady as last:
            waited = clock.now_s() - started
            if waited + pause_s > timeout_s:
                raise Late(waited_s=waited, attempts=attempts, last=str(last)) from last
        clock.sleep(pause_s)
        pause_s = min(pause_s * 1.5, max_pause_s)
