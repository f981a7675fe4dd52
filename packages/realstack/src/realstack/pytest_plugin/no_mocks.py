"""``ensure_no_mocks``: a test that promises real services may not build a double of one."""

from typing import NoReturn

import pytest


def forbid_mocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the construction of any ``unittest.mock`` object raise until *monkeypatch* is undone.

    All mock classes derive from ``NonCallableMock``; its ``__new__`` makes each of them.
    """
    # the module is looked up by name: this is the one place that must know it, to keep others from using it
    import unittest.mock as doubles  # noqa: TID251

    def refuse(cls: type, *_: object, **__: object) -> NoReturn:
        raise RuntimeError(
            f"{cls.__name__} was constructed in a test that asked for ensure_no_mocks\n"
            "  Try: use the real fixture instead (real_postgres, real_redis, real_clickhouse, real_http_client)"
        )

    monkeypatch.setattr(doubles.NonCallableMock, "__new__", refuse)
