"""What the backend can be told from outside: read once, checked at once, frozen.

The only module that reads the environment. Secrets are ``SecretStr``: neither ``repr`` nor an error shows them.
"""

import difflib
import os
from collections.abc import Mapping
from typing import Final

from pydantic import (
    AliasChoices,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from agent_backend.errors import SettingInvalid, SettingUnknown

_PREFIX: Final = "AGENT_BACKEND_"
_SCHEMES: Final = {"database_url": ("postgresql", "postgres"), "redis_url": ("redis", "rediss", "unix")}


def _also(name: str) -> AliasChoices:
    """Read a setting from its own variable, or else from the one that every tool knows."""
    return AliasChoices(f"{_PREFIX}{name}", name)


class Settings(BaseSettings):
    """Every setting with its default. ``AGENT_BACKEND_<NAME>`` sets one; the URLs are also read without the prefix."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True
    )

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://127.0.0.1:5432/agent_backend"), validation_alias=_also("DATABASE_URL")
    )
    redis_url: SecretStr = Field(default=SecretStr("redis://127.0.0.1:6379/0"), validation_alias=_also("REDIS_URL"))
    postgres_max_connections: PositiveInt = 10
    redis_max_connections: PositiveInt = 10
    connect_timeout_s: PositiveFloat = 10.0
    command_timeout_s: PositiveFloat = 60.0
    acquire_timeout_s: PositiveFloat = 10.0
    #: 0 behind a pooler that hands out connections by the transaction.
    statement_cache_size: int = Field(default=200, ge=0)
    memory_namespace: str = Field(default="aqe/", pattern=r"/\z", max_length=254)

    @field_validator("database_url", "redis_url")
    @classmethod
    def _check_scheme(cls, url: SecretStr, field: ValidationInfo) -> SecretStr:
        schemes = _SCHEMES[str(field.field_name)]
        scheme, separator, _ = url.get_secret_value().partition("://")
        if not separator or scheme.lower() not in schemes:
            raise ValueError(f"a URL must start with {' or '.join(f'{name}://' for name in schemes)}")
        return url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what ``load_settings`` found and nothing else, so that making a ``Settings`` reads nothing."""
        return (init_settings,)


def load_settings(env: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in *env*, by default the process's environment.

    Raises:
        SettingInvalid: names the variable and what is wrong; never its value.
        SettingUnknown: a variable starts with our prefix and no setting reads it.
    """
    # the one place that reads the environment
    values = os.environ if env is None else env  # noqa: TID251
    known = {f"{_PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in sorted(values):
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0]
            raise SettingUnknown(setting=name, near=near)
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in values.items()}
    try:
        return Settings(**source())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise SettingInvalid(setting=str(first["loc"][0]).upper(), reason=first["msg"]) from None
