"""From the commands that ran to what may have changed."""

import pytest

from realstack.isolation.redis.usage import EVERYTHING, effects_of


def stats(*commands: str) -> bytes:
    lines = [f"cmdstat_{name}:calls={calls},usec=1,usec_per_call=1.00" for name, calls in map(split, commands)]
    return "\r\n".join(["# Commandstats", *lines, ""]).encode()


def split(command: str) -> tuple[str, str]:
    name, _, calls = command.partition("*")
    return name, calls or "1"


@pytest.mark.parametrize(
    ("commands", "effects"),
    [
        (["lastsave"], set()),
        (["lastsave", "config"], set()),
        (["lastsave", "config|resetstat", "client|list*3", "info*9"], set()),
        (["lastsave", "config*2"], {"state", "files"}),
        (["lastsave", "config|resetstat", "config|get*7"], set()),
        (["lastsave", "config|resetstat", "config|set"], {"state", "files"}),
        (["lastsave", "get*5", "hgetall", "scan"], set()),
        (["lastsave", "set"], {"data"}),
        (["lastsave", "set*0"], set()),
        (["lastsave", "json.set"], {"data"}),
        (["lastsave", "eval"], {"data", "scripts"}),
        (["lastsave", "fcall"], {"data"}),
        (["lastsave", "function|load"], {"state"}),
        (["lastsave", "acl|setuser"], {"state"}),
        (["lastsave", "acl|whoami"], set()),
        (["lastsave", "debug"], {"state", "files", "debug", "data"}),
        (["lastsave", "swapdb"], {"data"}),
        (["lastsave", "watch", "multi", "exec"], {"watch"}),
        (["get"], set(EVERYTHING)),
        (["lastsave*0"], set(EVERYTHING)),
        ([], set(EVERYTHING)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_effects(commands: list[str], effects: set[str]) -> None:
    assert effects_of(stats(*commands)) == effects
