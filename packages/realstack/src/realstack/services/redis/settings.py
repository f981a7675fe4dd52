"""The configuration file a Redis server of ours is started with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from realstack.errors import ConfigInvalid

#: What the kit decides itself; the value says why nobody else can.
_OURS: Final = {
    "port": "the kit picks a free one for every server",
    "bind": "the server is for this machine only",
    "unixsocket": "the kit's own connection uses it",
    "unixsocketperm": "the kit's own connection uses it",
    "dir": "the folder is deleted with the server",
    "daemonize": "the supervisor must be its parent",
    "supervised": "the supervisor must be its parent",
    "pidfile": "the supervisor must be its parent",
    "logfile": "a failed test shows the end of the log",
    "include": "every setting is checked where it is written",
    "rename-command": "putting the server back needs every command",
    "replicaof": "a replica cannot be put back; call REPLICAOF in the test",
    "slaveof": "a replica cannot be put back; call REPLICAOF in the test",
    "aclfile": "write users as `user` settings or with ACL SETUSER",
}
_SECRETS: Final = ("requirepass", "masterauth", "user")
_SOURCE: Final = "[tool.realstack.redis] settings"


def check_settings(settings: Mapping[str, str]) -> None:
    """Refuse what can be told to be wrong without a server.

    Raises:
        ConfigInvalid: a setting the kit decides itself, or one that would not stay on its line.
    """
    for key, value in settings.items():
        wanted = ""
        if why := _OURS.get(key.lower()):
            wanted = f"left out: {why}"
        elif not key or not all(letter.isalnum() or letter in "-_." for letter in key):
            wanted = "a name as it stands in redis.conf"
        elif "\n" in value or "\r" in value or "\x00" in value:
            wanted = "on one line"
        if wanted:
            raise ConfigInvalid(key=f"redis.settings.{key}", value=repr(value), source=_SOURCE, wanted=wanted)


def write_configuration(file: Path, *, port: int, socket: Path, version: str, settings: Mapping[str, str]) -> str:
    """Write the configuration to *file*, readable for its owner alone, and return it."""
    ours = {"port": str(port), "bind": "127.0.0.1", "unixsocket": _quoted(str(socket)), "unixsocketperm": "700"}
    ours |= {"dir": _quoted(str(file.parent)), "daemonize": "no", "save": '""', "appendonly": "no", "databases": "16"}
    if int(version.partition(".")[0]) >= 7:
        # needed by suites that use DEBUG SLEEP or load modules; "local" leaves other machines out
        ours |= dict.fromkeys(("enable-debug-command", "enable-module-command", "enable-protected-configs"), "local")
    lines = {**ours, **{key.lower(): value for key, value in settings.items()}}
    text = "".join(_line(key, value) for key, value in lines.items())
    file.touch(mode=0o600)
    file.write_text(text)
    return text


def refused_setting(log_text: str, settings: Mapping[str, str]) -> ConfigInvalid | None:
    """Return what the server said against one of *settings* when it gave up on its configuration.

    Redis prints the line it could not read between ``>>> '`` and ``'``, and below it the reason.
    """
    if "user" in settings and "Error loading ACL rule " in log_text:
        return _refused("user", settings["user"], log_text.rpartition("Error loading ACL rule ")[2].partition("\n")[0])
    _, found, after = log_text.rpartition(">>> '")
    if not found or "FATAL CONFIG FILE ERROR" not in log_text:
        return None
    line, _, rest = after.partition("\n")
    key = line.strip("'").partition(" ")[0]
    value = next((value for name, value in settings.items() if name.lower() == key), None)
    if value is None:
        return None
    return _refused(key, value, rest.strip().partition("\n")[0] or "no reason")


def _refused(key: str, value: str, said: str) -> ConfigInvalid:
    shown = "***" if key in _SECRETS else repr(value)
    wanted = f"something this Redis accepts; it says: {said}"
    return ConfigInvalid(key=f"redis.settings.{key}", value=shown, source=_SOURCE, wanted=wanted)


def _line(key: str, value: str) -> str:
    """Return one line; a password may hold anything, other values are written as in redis.conf."""
    value = value.strip()
    if key in ("requirepass", "masterauth") and not value.startswith('"'):
        return f"{key} {_quoted(value)}\n"
    if key == "save" and (points := value.strip('"').split()):
        # before Redis 7 each pair needs a line of its own; the first line drops those built in
        return 'save ""\n' + "".join(f"save {' '.join(points[at : at + 2])}\n" for at in range(0, len(points), 2))
    return f"{key} {value}\n" if value else f'{key} ""\n'


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
