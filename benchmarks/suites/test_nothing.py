"""No service at all: what pytest itself costs."""

from benchmarks.probe import mark


def test_nothing(turn):
    mark("ready")
