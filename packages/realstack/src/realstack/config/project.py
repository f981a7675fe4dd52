"""The layer of the project: where its root is, and what ``[tool.realstack]`` of its pyproject.toml says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realstack.config.model import DEFAULT, NAMED_SERVICES, SERVICES, Config, parsers
from realstack.config.names import Instances, instance_key
from realstack.config.refusal import invalid, nearest, unknown
from realstack.config.values import Refused, identifier
from realstack.config.variables import Layer

FILE = "pyproject.toml"
_MARKER = "tool.realstack"
_SIGNS = (FILE, "pytest.ini", ".git")


def find_root(start: Path) -> Path:
    """Return the project *start* lies in.

    That is the nearest folder upwards whose pyproject.toml has ``[tool.realstack]``, else the nearest one with a
    pyproject.toml, a pytest.ini or a .git, else *start* itself.
    """
    start = start.resolve()
    folders = (start, *start.parents)
    for folder in folders:
        if _MARKER in _text(folder / FILE):
            return folder
    return next((folder for folder in folders if any((folder / sign).exists() for sign in _SIGNS)), start)


def read_project(root: Path) -> Layer:
    """Return the settings in the pyproject.toml of *root*.

    Raises:
        ConfigUnknown: a key that is no setting, with the nearest one.
        ConfigInvalid: the file is no TOML, or a service is no table.
    """
    text = _text(root / FILE)
    if _MARKER not in text:
        return {}
    # imported here: a project without the table must not pay for the parser
    import tomllib

    try:
        table = tomllib.loads(text).get("tool", {}).get("realstack", {})
    except tomllib.TOMLDecodeError as error:
        raise invalid(FILE, (), source=str(root), wanted=f"valid TOML: {error}") from error
    return _read_table(_table("realstack", table))


def instances_of(layer: Layer) -> Instances:
    """Return the named instances that *layer* speaks of."""
    found: dict[str, dict[str, None]] = {}
    for key in layer:
        service, *rest = key.split(".")
        if len(rest) == 2:
            found.setdefault(service, {})[rest[0]] = None
    return {service: tuple(names) for service, names in found.items()}


def _read_table(table: Mapping[str, Any]) -> Layer:
    layer: Layer = {}
    known = parsers(Config)
    for key, value in table.items():
        if key in SERVICES:
            layer.update(_read_service(key, _table(key, value)))
        elif key in known:
            layer[key] = value, FILE
        else:
            raise unknown(key, source=FILE, known=(*known, *SERVICES))
    return layer


def _read_service(service: str, table: Mapping[str, Any]) -> Layer:
    layer: Layer = {}
    known = parsers(SERVICES[service])
    for key, value in table.items():
        if key in known:
            layer[f"{service}.{key}"] = value, FILE
        elif isinstance(value, dict) and service in NAMED_SERVICES and not nearest(key, known, cutoff=0.8):
            layer.update(_read_instance(service, key, value))
        else:
            raise unknown(f"{service}.{key}", source=FILE, known=known, prefix=f"{service}.")
    # a named instance with nothing to say is still one
    return layer


def _read_instance(service: str, instance: str, table: Mapping[str, Any]) -> Layer:
    known = parsers(SERVICES[service])
    try:
        identifier(instance, Path())
        if instance == DEFAULT:
            raise Refused("another name: settings of the default one stand in the service's own table")
    except Refused as refusal:
        raise invalid(f"the name of {service}.{instance}", instance, source=FILE, wanted=str(refusal)) from None
    for key in table:
        if key not in known:
            raise unknown(f"{service}.{instance}.{key}", source=FILE, known=known, prefix=f"{service}.{instance}.")
    stated: Layer = {instance_key(service, instance, key): (value, FILE) for key, value in table.items()}
    return stated or {f"{service}.{instance}.": (None, FILE)}


def _table(key: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise invalid(key, value, source=FILE, wanted=f"a table: [tool.realstack.{key}]")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
