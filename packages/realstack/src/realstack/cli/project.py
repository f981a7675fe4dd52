"""The configuration of the project a command is called in."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realstack.config import Config


def load_config(**command_line: object) -> "Config":
    """Return the configuration of the project the working folder lies in.

    Raises:
        ConfigUnknown, ConfigInvalid: a setting is wrong.
    """
    from pathlib import Path

    from realstack.config import find_root, read_environment, resolve

    return resolve(find_root(Path.cwd()), environ=read_environment(), command_line=command_line)


def stack_name(config: "Config") -> str:
    """Return what a stack of this project is called unless it is given a name: the project's folder."""
    kept = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "-" for sign in config.root.name)
    return kept.lstrip("._-")[:64] or "stack"
