import asyncio
import threading

import pytest

from realstack.services.loops import PerLoop, end_in_loop


class Thing:
    """Something that notes how, and in which loop, it ended."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.end = ""

    async def close(self) -> None:
        self.end = "closed" if asyncio.get_running_loop() is self.loop else "closed in another loop"

    def cut(self) -> None:
        self.end = "cut"


def per_loop() -> PerLoop[Thing]:
    return PerLoop(Thing, close=Thing.close, cut=Thing.cut)


async def ask(things: PerLoop[Thing]) -> Thing:
    return things.get()


def test_each_loop_has_its_own_and_keeps_it():
    things = per_loop()
    with asyncio.Runner() as one, asyncio.Runner() as two:
        first, second = one.run(ask(things)), two.run(ask(things))

        assert first is not second
        assert one.run(ask(things)) is first
        assert things.values() == (first, second)
        things.terminate()
        assert (first.end, second.end) == ("closed", "closed")
        assert one.run(ask(things)) is not first
        things.terminate()


def test_that_of_a_closed_loop_is_cut_when_the_next_loop_asks():
    things = per_loop()
    first = asyncio.run(ask(things))

    asyncio.run(ask(things))

    assert first.end == "cut"
    assert len(things.values()) == 1
    things.terminate()


def test_close_ends_its_own_in_order_and_cuts_those_that_cannot_run_now():
    things = per_loop()
    with asyncio.Runner() as resting, asyncio.Runner() as running:
        other = resting.run(ask(things))
        mine = running.run(ask(things))
        running.run(things.close())

    assert (mine.end, other.end) == ("closed", "cut")


def test_that_of_a_loop_running_in_another_thread_is_closed_there():
    things = per_loop()
    made: list[Thing] = []
    is_made, is_over = threading.Event(), threading.Event()

    async def live() -> None:
        made.append(things.get())
        is_made.set()
        await asyncio.to_thread(is_over.wait, 5)

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    assert is_made.wait(5)
    things.terminate()
    is_over.set()
    thread.join(5)

    assert made[0].end == "closed"


@pytest.mark.parametrize("error", [OSError("lost"), RuntimeError("odd")])
def test_what_cannot_be_closed_is_cut(error: Exception):
    ends: list[str] = []

    async def close() -> None:
        raise error

    with asyncio.Runner() as runner:
        end_in_loop(runner.get_loop(), close, lambda: ends.append("cut"))

    assert ends == ["cut"]
