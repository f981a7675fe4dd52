"""Which setting a name means: keys with points in files, words with underscores in variables and options."""

from collections.abc import Mapping

from realstack.config.model import SERVICES, Config, parsers

Instances = Mapping[str, tuple[str, ...]]
"""Service to the names of its instances beside the default one."""


def all_keys(instances: Instances) -> dict[str, str]:
    """Return every setting's key by its name with underscores: ``postgres_version`` to ``postgres.version``."""
    keys = dict.fromkeys(parsers(Config))
    named = {name: name for name in keys}
    for service, owner in SERVICES.items():
        for field in parsers(owner):
            named[f"{service}_{field}"] = f"{service}.{field}"
            for instance in instances.get(service, ()):
                # a field wins over an instance whose name makes the same word
                named.setdefault(f"{service}_{instance}_{field}", f"{service}.{instance}.{field}")
    return named


def instance_key(service: str, instance: str, field: str) -> str:
    """Return the key of one setting; the default instance's name is left out."""
    return f"{service}.{field}" if instance == "default" else f"{service}.{instance}.{field}"
