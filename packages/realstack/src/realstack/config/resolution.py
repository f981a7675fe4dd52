"""Putting the layers on top of each other and reading each value once."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realstack.config.model import DEFAULT, NAMED_SERVICES, SERVICES, AppConfig, Config, parsers
from realstack.config.names import Instances, all_keys, instance_key
from realstack.config.project import instances_of, read_project
from realstack.config.refusal import invalid, unknown
from realstack.config.template import placeholders
from realstack.config.values import Refused
from realstack.config.variables import HINTS, Layer, read_dotenv, read_hints, read_variables

DOTENV = ".env.test"
_INHERITED = ("providers", "version", "isolation")
_INHERITED_ON_A_SHARED_SERVER = (*_INHERITED, "url", "url_is_hint", "allow_remote", "settings")
_MAKES_A_SERVER_OF_ITS_OWN = ("version", "settings", "url", "providers")


def resolve(root: Path, *, environ: Mapping[str, str], command_line: Mapping[str, object]) -> Config:
    """Return the configuration of the project at *root*.

    Each layer overrides the ones before it: ``[tool.realstack]`` of pyproject.toml, ``.env.test``, *environ*,
    *command_line*.

    Args:
        root: the project; see ``find_root``.
        environ: the environment; see ``read_environment``.
        command_line: settings by name (``postgres_version``); ``None`` means not given.

    Raises:
        ConfigUnknown: a key, a ``REALSTACK_*`` variable or an option nobody knows; carries the nearest known one.
        ConfigInvalid: a value the setting cannot have; it is masked if it may be a secret.
    """
    stated = _layers(root, environ, command_line)
    instances = instances_of(stated)
    services: dict[str, Any] = {
        service: _instances(service, stated, root, instances.get(service, ())) for service in NAMED_SERVICES
    }
    if "cache_folder" not in stated:
        stated["cache_folder"] = _cache_folder(environ)
    return Config(
        root=root,
        app=_app(stated, root, instances),
        sources={key: source for key, (_raw, source) in stated.items() if not key.endswith(".")},
        **_read("", Config, stated, root),
        **services,
    )


def _layers(root: Path, environ: Mapping[str, str], command_line: Mapping[str, object]) -> Layer:
    project = read_project(root)
    instances = instances_of(project)
    dotenv = read_dotenv(root / DOTENV)
    layers = (
        # a hint never overrides a wish, so it lies at the bottom; in a file made for tests the same name is a wish
        read_hints(environ),
        project,
        read_hints(dotenv, label=DOTENV),
        read_variables(dotenv, instances=instances, label=DOTENV),
        read_variables(environ, instances=instances),
        _read_command_line(command_line, instances),
    )
    return {key: said for layer in layers for key, said in layer.items()}


def _read_command_line(command_line: Mapping[str, object], instances: Instances) -> Layer:
    keys = all_keys(instances)
    layer: Layer = {}
    for name, value in command_line.items():
        if name not in keys:
            raise unknown(name, source="the command line", known=keys)
        if value is not None:
            layer[keys[name]] = value, ("--no-" if value is False else "--") + name.replace("_", "-")
    return layer


def _read(prefix: str, owner: type[Any], stated: Layer, root: Path) -> dict[str, Any]:
    """Return the values that were said for the settings of *owner*, read."""
    return {
        field: _value(prefix + field, parse, *stated[prefix + field], root)
        for field, parse in parsers(owner).items()
        if prefix + field in stated
    }


def _value(key: str, parse: Any, raw: object, source: str, root: Path) -> Any:
    try:
        return parse(raw, root)
    except Refused as refusal:
        raise invalid(key, raw, source=source, wanted=str(refusal)) from None


def _instances(service: str, stated: Layer, root: Path, names: tuple[str, ...]) -> dict[str, Any]:
    owner = SERVICES[service]
    said = _read(f"{service}.", owner, stated, root)
    hint = stated.get(f"{service}.url", (None, ""))[1] == HINTS[service]
    default = owner(**said, url_is_hint=hint)
    fields = parsers(owner)
    named = {}
    for name in names:
        own = _read(f"{service}.{name}.", owner, stated, root)
        if "server" in fields:
            own["server"] = _server(f"{service}.{name}", own)
        shared = own.get("server", "own" if service == "redis" else "shared") == "shared"
        taken = _INHERITED_ON_A_SHARED_SERVER if shared else _INHERITED
        inherited = {field: getattr(default, field) for field in taken if hasattr(default, field)}
        if "database" in fields:
            inherited["database"] = f"test_{name}"
        named[name] = owner(**{**inherited, **own})
    return {DEFAULT: default, **named}


def _server(prefix: str, own: Mapping[str, Any]) -> str:
    """Decide whether a named instance shares the default one's server."""
    reason = next((field for field in _MAKES_A_SERVER_OF_ITS_OWN if field in own), None)
    if reason and own.get("server") == "shared":
        key = f"{prefix}.server"
        raise invalid(key, "shared", source=prefix, wanted=f"'own', since {prefix}.{reason} is set")
    return "own" if reason else str(own.get("server", "shared"))


def _app(stated: Layer, root: Path, instances: Instances) -> AppConfig | None:
    said = _read("app.", AppConfig, stated, root)
    if not said:
        return None
    if "target" not in said:
        raise invalid(
            "app.target",
            None,
            source=next(source for key, (_raw, source) in stated.items() if key.startswith("app.")),
            wanted='the app to start, written "package.module:app"',
        )
    app = AppConfig(**said)
    for name, value in app.env.items():
        _check_template(name, value, stated["app.env"][1], instances)
    return app


def _check_template(name: str, value: str, source: str, instances: Instances) -> None:
    try:
        wanted = placeholders(value)
    except ValueError as error:
        raise invalid(f"app.env.{name}", value, source=source, wanted=str(error)) from None
    for each in wanted:
        known = (DEFAULT, *instances.get(each.service, ()))
        if each.instance not in known:
            key = instance_key(each.service, each.instance, each.attribute)
            raise invalid(
                f"app.env.{name}",
                value,
                source=source,
                wanted=f"made of instances that exist: {{{key}}} is none, [tool.realstack.{each.service}] has {known}",
            )


def _cache_folder(environ: Mapping[str, str]) -> tuple[object, str]:
    """Return the kit's cache folder of this user; one without a home to write to gets it in the temporary folder."""
    base, source = environ.get("XDG_CACHE_HOME", ""), "XDG_CACHE_HOME"
    if not base.startswith("/"):  # the specification says to pass over a relative one
        base, source = f"{Path(environ.get('HOME') or '~').expanduser()}/.cache", "default"
    folder = Path(base, "realstack")
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if os.access(there, os.W_OK | os.X_OK):
        return str(folder), source
    from realstack._core.folders import cache_folder

    return str(cache_folder(environ)), f"{source}: {folder} cannot be written"


def with_changes(config: Config, **changes: Any) -> Config:
    """Return *config* with some of its top values replaced; for ``open_stack`` and the runner."""
    return dataclasses.replace(config, **changes)
