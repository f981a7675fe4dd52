"""realstack: when the app under test had been imported, and when the kit called it ready."""

import json
from urllib.request import urlopen

from benchmarks import probe


def test_ready(real_app):
    with urlopen(real_app.base_url) as answer:
        imported = json.loads(answer.read())["imported"]
    probe.mark("answered")
    probe.sample("after_import", probe._marks["collected"] - imported)
