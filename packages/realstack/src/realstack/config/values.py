"""From what a file, a variable or an option says to the value a setting has; every refusal says what was wanted."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

PROVIDERS = ("url", "binary", "wheel", "npm", "container")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
# kept as text: compiled on first use, so that importing this costs nothing
_VERSION = r"(?:[<>=~!]=?)?\s*\d+(?:\.\d+)*"
_OBJECT = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_NAME = r"[a-z_][a-z0-9_]{0,39}"

Parse = Callable[[object, Path], object]
"""Takes a raw value and the project's root; raises ``Refused``."""


class Refused(Exception):
    """A raw value that cannot become the setting; its text says what was wanted."""


def flag(raw: object, _root: Path) -> bool:
    """Read true or false."""
    value = raw if isinstance(raw, bool) else _WORDS.get(str(raw).strip().lower())
    if value is None:
        raise Refused("true or false")
    return value


def text(raw: object, _root: Path) -> str:
    """Read a non-empty text."""
    if not isinstance(raw, str) or not raw.strip():
        raise Refused("a non-empty text")
    return raw.strip()


def seconds(raw: object, _root: Path) -> float:
    """Read a number of seconds above zero."""
    wanted = "a number of seconds greater than zero"
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise Refused(wanted)
    try:
        value = float(raw)
    except ValueError:
        raise Refused(wanted) from None
    if not 0 < value < 86400:
        raise Refused(wanted)
    return value


def version(raw: object, _root: Path) -> str:
    """Read a version such as ``16``, ``16.4``, ``>=15`` or ``15,16``; a number with a point is ambiguous in TOML."""
    wanted = 'a version in quotes such as "16", "16.4" or ">=15" (never "latest")'
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise Refused(wanted)
    parts = [part.strip() for part in str(raw).split(",")]
    if not all(re.fullmatch(_VERSION, part) for part in parts):
        raise Refused(wanted)
    return ",".join(parts)


def identifier(raw: object, _root: Path) -> str:
    """Read a name that needs no quotes in SQL and leaves room for the worker's suffix."""
    if not isinstance(raw, str) or not re.fullmatch(_NAME, raw):
        raise Refused("1 to 40 letters, digits or underscores, lower case, not starting with a digit")
    return raw


def import_path(raw: object, _root: Path) -> str:
    """Read ``package.module:object``."""
    if not isinstance(raw, str) or not re.fullmatch(_OBJECT, raw.strip()):
        raise Refused('an object to import, written "package.module:name"')
    return raw.strip()


def folder(raw: object, root: Path) -> Path:
    """Read a folder; ``~`` is the home folder, a relative one starts at the project's root."""
    return root / Path(text(raw, root)).expanduser()


def existing_folder(raw: object, root: Path) -> Path:
    """Read a folder that must be there."""
    path = folder(raw, root)
    if not path.is_dir():
        raise Refused(f"a folder that exists (there is none at {path})")
    return path


def one_of(*choices: str) -> Parse:
    """Give the reader of a value that is one of *choices*."""

    def parse(raw: object, _root: Path) -> str:
        if raw not in choices:
            raise Refused("one of " + ", ".join(choices))
        return str(raw)

    return parse


def url_with(*schemes: str) -> Parse:
    """Give the reader of a URL with one of *schemes*; a driver after a plus sign is accepted."""

    def parse(raw: object, _root: Path) -> str:
        if not isinstance(raw, str) or not has_scheme(raw, schemes):
            raise Refused("a URL that starts with one of " + ", ".join(f"{scheme}://" for scheme in schemes))
        return raw.strip()

    return parse


def has_scheme(url: str, schemes: Iterable[str]) -> bool:
    """True when *url* starts with one of *schemes*, with or without ``+driver``."""
    head, separator, _rest = url.strip().partition("://")
    return bool(separator) and head.partition("+")[0].lower() in schemes


def provider_list(*known: str) -> Parse:
    """Give the reader of a list of providers, in the order they are to be tried."""

    def parse(raw: object, root: Path) -> tuple[str, ...]:
        names = texts(raw, root)
        if not names or not set(names) <= set(known) or len(set(names)) < len(names):
            raise Refused("a list without repetition from " + ", ".join(known))
        return names

    return parse


def texts(raw: object, _root: Path) -> tuple[str, ...]:
    """Read a list of texts; a single text is a list of its parts between commas."""
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item.strip() for item in items):
        raise Refused("a list of texts")
    return tuple(item.strip() for item in items)


def pairs(raw: object, root: Path) -> dict[str, str]:
    """Read a table of names and values; as one text it is ``name=value,name=value``."""
    if isinstance(raw, str):
        raw = dict(_pair(item) for item in texts(raw, root))
    if not isinstance(raw, Mapping):
        raise Refused("a table of names and values")
    return {str(name): _plain(name, value) for name, value in raw.items()}


def sql_files(raw: object, root: Path) -> tuple[Path, ...]:
    """Read files and globs, each glob's files in sorted order; a file or a match must be there."""
    return tuple(path for item in texts(raw, root) for path in _matches(item, root, folders=False))


def any_files(raw: object, root: Path) -> tuple[Path, ...]:
    """Read files, globs and folders (all files below, byte code excepted), in sorted order."""
    return tuple(path for item in texts(raw, root) for path in _matches(item, root, folders=True))


def _pair(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals:
        raise Refused("name=value,name=value")
    return name.strip(), value.strip()


def _plain(name: object, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if not isinstance(value, str | int | float):
        raise Refused(f"a table of names and values ({name} is no text, number or true/false)")
    return str(value)


def _matches(item: str, root: Path, *, folders: bool) -> list[Path]:
    path = root / Path(item).expanduser()
    if any(sign in item for sign in "*?["):
        base = Path(path.anchor)
        found = sorted(match for match in base.glob(str(path.relative_to(base))) if match.is_file())
    elif path.is_dir() and folders:
        found = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise Refused(f"{'files' if folders else 'SQL files'} that exist (nothing is at {path})")
    return found
