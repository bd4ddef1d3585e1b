"""Settings: `warehouse.toml` and the environment, validated before anything is touched.

This module is the only reader of the environment. It does not open databases or files below `raw/`.
Every key is optional; `warehouse.toml` in the project's root documents each with its default.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

JsonType = Literal["string", "number", "boolean", "object", "array"]


class SettingsError(Exception):
    """Wrong settings. The text names each key, its value and what would be right."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WarehouseSettings(_Section):
    memory_limit: str = Field("2GB", pattern=r"^\d+(\.\d+)?\s?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$")
    threads: int = Field(0, ge=0, le=1024)
    lock_wait_seconds: int = Field(600, ge=0)


class MetadataSettings(_Section):
    on_conflict: Literal["drop_value", "reject_update"] = "drop_value"
    lock_scope: Literal["organization", "entity"] = "organization"
    pins: dict[str, JsonType] = Field(default_factory=dict)


class FeatureSettings(_Section):
    accept_backdated: bool = False
    feature_limit: int = Field(256, ge=1)
    module_limit: int = Field(256, ge=1)


_CRON_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of the week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def _cron(text: str) -> str:
    """A cron expression of five fields. Raises ValueError that says which field is wrong."""
    fields = text.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError("must be a cron expression of five fields, such as 0 2 * * *")
    for given, (name, least, most, names) in zip(fields, _CRON_FIELDS, strict=True):
        for part in given.lower().split(","):
            span, _, step = part.partition("/")
            ends = [] if span == "*" else span.split("-")
            numbers = [
                least + names.index(end) if end in names else int(end) if end.isdecimal() else -1
                for end in ends
            ]
            in_range = all(least <= number <= most for number in numbers) and numbers == sorted(numbers)
            if (
                len(ends) > 2
                or not in_range
                or ((step or part.endswith("/")) and not (step.isdecimal() and int(step)))
            ):
                raise ValueError(f"must be a cron expression; {given!r} is no {name} ({least} to {most})")
    return text


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone such as UTC or Europe/Berlin") from None
    return name


class ScheduleSettings(_Section):
    nightly: Annotated[str, AfterValidator(_cron)] = "0 2 * * *"
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"


class HubspotSettings(_Section):
    live: bool = False
    portal_id: int | None = Field(None, ge=1)
    rate_share: float = Field(1.0, gt=0, le=1)
    daily_share: float = Field(1.0, gt=0, le=1)
    timeout_seconds: int = Field(30, ge=1, le=600)
    recreate_deleted: bool = False


class Settings(_Section):
    """All settings. `data` and `raw` are folders; they need not exist yet."""

    data: Path
    raw: Path
    warehouse: WarehouseSettings = Field(default_factory=WarehouseSettings)
    metadata: MetadataSettings = Field(default_factory=MetadataSettings)
    features: FeatureSettings = Field(default_factory=FeatureSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)
    hubspot: HubspotSettings = Field(default_factory=HubspotSettings)

    @property
    def warehouse_file(self) -> Path:
        return self.data / "warehouse.duckdb"

    @property
    def raw_file(self) -> Path:
        return self.data / "raw.duckdb"

    @property
    def analytics_file(self) -> Path:
        return self.data / "analytics.duckdb"

    @property
    def dagster_home(self) -> Path:
        home = os.environ.get("DAGSTER_HOME")
        return Path(home) if home else self.data / "dagster"


def project_root() -> Path:
    """The folder that holds `sql/` and `warehouse.toml` (the checkout; the package is installed in place)."""
    return Path(__file__).resolve().parent.parent


def hubspot_token() -> str | None:
    """The HubSpot access token, or None. It is handed to the HTTP session only, never stored."""
    return os.environ.get("HUBSPOT_ACCESS_TOKEN", "").strip() or None


def hubspot_oauth() -> tuple[str, str, str] | None:
    """An OAuth app's client id, client secret and refresh token, or None. As secret as the token."""
    names = ("HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET", "HUBSPOT_REFRESH_TOKEN")
    client_id, client_secret, refresh_token = (os.environ.get(name, "").strip() for name in names)
    return (
        (client_id, client_secret, refresh_token) if client_id and client_secret and refresh_token else None
    )


def hubspot_base_url() -> str:
    """Where HubSpot's API answers. Raises SettingsError on what is no http(s) address."""
    url = (os.environ.get("HUBSPOT_BASE_URL") or "https://api.hubapi.com").strip().rstrip("/")
    if not url.startswith(("https://", "http://")):
        raise SettingsError(
            f"HUBSPOT_BASE_URL = {url!r}: must begin with https:// (or http:// for an emulator); "
            "unset it for HubSpot's own address"
        )
    return url


def load_settings() -> Settings:
    """Read `WAREHOUSE_CONFIG` (default `warehouse.toml`) and the `WAREHOUSE_*` variables.

    Raises SettingsError on a file that cannot be read, unknown keys and wrong values.
    """
    configured = os.environ.get("WAREHOUSE_CONFIG")
    file = Path(configured) if configured else project_root() / "warehouse.toml"
    values: dict[str, Any] = {}
    if configured and not file.is_file():
        raise SettingsError(f"WAREHOUSE_CONFIG = {configured!r}: no such file; name a TOML file or unset it")
    if file.is_file():
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file.name} is not valid TOML: {error}") from error
        except OSError as error:
            raise SettingsError(f"{file.name} cannot be read: {error.strerror}; make it readable") from error
    for reserved in ("data", "raw"):
        if reserved in values:
            raise SettingsError(
                f"{file.name}: {reserved} = {values[reserved]!r}: folders are set by the environment, "
                f"with WAREHOUSE_{reserved.upper()}; remove the key"
            )
    data = Path(os.environ.get("WAREHOUSE_DATA") or project_root() / "data").absolute()
    raw_value = os.environ.get("WAREHOUSE_RAW") or str(data / "raw")
    if "://" in raw_value:
        raise SettingsError(
            f"WAREHOUSE_RAW = {raw_value!r}: object storage is not supported yet; name a folder on this machine"
        )
    try:
        return Settings(data=data, raw=Path(raw_value).absolute(), **values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(file.name, e) for e in error.errors())) from None


def _explain(file: str, error: Any) -> str:
    """One validation error as: file: key = value: what is wrong; what would be right."""
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    # A secret that was put here by mistake is not repeated on a screen or in a log.
    given = "***" if re.search("token|secret|password|key", key, re.IGNORECASE) else repr(error["input"])
    if error["type"] == "extra_forbidden":
        section: Any = Settings
        for part in location[:-1]:
            section = section.model_fields[part].annotation
        known = sorted(set(section.model_fields) - {"data", "raw"})
        near = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(known)}"
        return f"{file}: {key} = {given}: unknown key; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{file}: {key} = {given}: {message[0].lower()}{message[1:]}"
