"""Runs side by side."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("one_run.py")


def run(cache):
    argv = [sys.executable, "-B", os.fspath(SCRIPT), os.fspath(cache)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def together(cache, *, count):
    with ThreadPoolExecutor(count) as all_of_them:
        return list(all_of_them.map(lambda _: run(cache), range(count)))


def test_runs_that_start_at_once_with_an_empty_cache_do_not_meet(tmp_path):
    said = together(tmp_path, count=3)

    assert [each["count"] for each in said] == ["200000"] * 3
    assert [each["left"] for each in said] == [[]] * 3
    assert len(list((tmp_path / "clusters").glob("*.cluster"))) == 1


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_hundred_runs_four_at_a_time_do_not_meet(cache):
    for _ in range(25):
        said = together(cache, count=4)

        assert [(each["count"], each["left"]) for each in said] == [("200000", [])] * 4
