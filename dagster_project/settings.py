"""Settings: `warehouse.toml` and the environment, validated before anything is touched.

This module is the only reader of the environment. It does not open databases or files below `raw/`.
Every key is optional; `warehouse.toml` in the project's root documents each with its default.
It grows by a class for each section, and is to be read as that file is: in one piece.
"""

from __future__ import annotations

import difflib
import grp
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urlsplit
from zoneinfo import ZoneInfo

from croniter import croniter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dagster_project import projects

JsonType = Literal["string", "number", "boolean", "object", "array"]


_SHORTEST_KEY = 16


class SettingsError(Exception):
    """Wrong settings. The text names each key, its value and what would be right."""


@dataclass(frozen=True)
class WhileLoading:
    """Marks a setting that acts on a file while it is loaded, and on what is loaded no more.

    What each file was loaded under is kept (`raw.files.loaded_under`). source: the folder of the only one that obeys it;
    None: all do.
    """

    source: str | None = None


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s?([MGT])(i?)B", re.ASCII)
_LEAST_MEMORY = 100 * 1000**2


def _memory(text: str) -> str:
    """A size that DuckDB can work with. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if (
        not match
        or float(match[1]) * (1024 if match[3] else 1000) ** (2 + "MGT".index(match[2])) < _LEAST_MEMORY
    ):
        raise ValueError("must be a size such as 2GB or 800MB, and 100MB at least")
    return text


def _group(name: str) -> str:
    """A group of this machine, or '' for none. Raises ValueError."""
    if name:
        try:
            grp.getgrnam(name)
        except KeyError:
            raise ValueError("must be a group of this machine (`getent group`)") from None
    return name


class WarehouseSettings(_Section):
    memory_limit: Annotated[str, AfterValidator(_memory)] = "1500MB"
    threads: int = Field(0, ge=0, le=1024)
    lock_wait_seconds: int = Field(600, ge=0)
    clock_jump_days: int = Field(400, ge=0)
    raw_links: list[str] = Field(default_factory=list)
    published_group: Annotated[str, AfterValidator(_group)] = ""


_REMOTE = re.compile(r"sc://(\[[0-9a-fA-F:]+\]|[^/:;?#\s]+)(?::(\d{1,5}))?(?:/(?:;([^\s]*))?)?")
_REMOTE_PORT = 15002


def _remote(text: str) -> str:
    """Where a Spark Connect server answers, or '' for none. Raises ValueError."""
    if not text:
        return text
    match = _REMOTE.fullmatch(text)
    if not match or not 0 < int(match[2] or _REMOTE_PORT) < 65536 or "@" in text:
        raise ValueError("must be the address of a Spark Connect server, such as sc://spark.example:15002")
    options = [option.partition("=")[0] for option in (match[3] or "").split(";") if option]
    if {"token", "x-databricks-token"} & set(options):
        raise ValueError("holds a token: leave it out, and set WAREHOUSE_SPARK_TOKEN in the environment")
    return text


def _storage(text: str) -> str:
    """A folder or bucket that all machines of a cluster see, or '' for none. Raises ValueError."""
    special = set(text) & set("*?[]{}'\"")
    if text.startswith("s3://"):
        if special or not re.fullmatch(r"s3://[A-Za-z0-9][A-Za-z0-9._-]*(/[^/]+)*/?", text):
            raise ValueError(
                "must be s3://bucket or s3://bucket/folder, without credentials (the environment has them, here and on the "
                "cluster's workers) and without any of * ? [ ] { } and quotes in it"
            )
    elif text and (not text.startswith("/") or special):
        raise ValueError(
            "must be s3://bucket/folder, or the absolute path of a folder that this machine and all of the cluster's see (a "
            "network file system, a bucket that is mounted), without any of * ? [ ] { } and quotes in it"
        )
    return text


class EngineSettings(_Section):
    """remote, storage: of a cluster only."""

    kind: Literal["local", "spark"] = "local"
    workers: int = Field(0, ge=0, le=256)
    remote: Annotated[str, AfterValidator(_remote)] = ""
    storage: Annotated[str, AfterValidator(_storage)] = ""

    @model_validator(mode="after")
    def _is_whole(self) -> EngineSettings:
        missing = [name for name in ("remote", "storage") if not getattr(self, name)]
        if self.kind == "spark" and missing:
            raise ValueError(f'kind = "spark" needs {" and ".join(missing)}, too (docs/scale.md)')
        return self

    @property
    def address(self) -> tuple[str, int]:
        """The machine and the port at which the cluster answers."""
        match = _REMOTE.fullmatch(self.remote)
        assert match is not None
        return match[1].strip("[]"), int(match[2] or _REMOTE_PORT)

    @property
    def is_encrypted(self) -> bool:
        """Whether what is sent to the cluster is."""
        return "use_ssl=true" in self.remote.lower()

    @property
    def is_this_machine(self) -> bool:
        return self.address[0] in ("localhost", "::1") or self.address[0].startswith("127.")


class MetadataSettings(_Section):
    on_conflict: Literal["drop_value", "reject_update"] = "drop_value"
    lock_scope: Literal["organization", "entity"] = "organization"
    pins: dict[str, JsonType] = Field(default_factory=dict)


class FeatureSettings(_Section):
    accept_backdated: Annotated[bool, WhileLoading("features")] = False
    feature_limit: Annotated[int, WhileLoading("features")] = Field(256, ge=1)
    module_limit: Annotated[int, WhileLoading("features")] = Field(256, ge=1)


class UsageSettings(_Section):
    routes: Annotated[Literal["failed", "all"], WhileLoading("events")] = "failed"


class PrivacySettings(_Section):
    hash_tokens: Annotated[bool, WhileLoading()] = False


class RetentionSettings(_Section):
    """How many days rows are kept; 0: for ever.

    Besides those here, a key `<raw table>_days` for each raw table that grows old: the sources say which
    (`sources.require_known_retention`).
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[int, Field(ge=0)]]

    rejects_days: int = Field(0, ge=0)

    @property
    def by_source(self) -> dict[str, int]:
        """The keys that follow from the sources, with their days."""
        return dict(self.__pydantic_extra__)

    def limits(self, today: date) -> dict[str, date]:
        """The raw tables whose old rows are dropped, to the first day that is kept."""
        days = {name.removesuffix("_days"): count for name, count in self.model_dump().items() if count}
        earliest = today.toordinal() - 1
        return {table: today - timedelta(days=min(count, earliest)) for table, count in days.items()}


def _cron(text: str) -> str:
    """A cron expression that Dagster takes, and that ever fires. Raises ValueError."""
    if len(text.split()) != 5 or not croniter.is_valid(text, strict=True):
        raise ValueError(
            "must be a cron expression of five fields, such as 0 2 * * *, of times that there are"
        )
    return text


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone such as UTC or Europe/Berlin") from None
    return name


class ScheduleSettings(_Section):
    nightly: Annotated[str, AfterValidator(_cron)] = "0 2 * * *"
    sync: Annotated[str, AfterValidator(_cron)] = "*/15 * * * *"
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    new_files_seconds: int = Field(60, ge=10, le=86400)
    keep_runs_days: int = Field(90, ge=0)


class RetrySettings(_Section):
    limit: int = Field(2, ge=0, le=10)
    wait_seconds: int = Field(60, ge=0, le=3600)


class FreshnessSettings(_Section):
    published_hours: int = Field(26, ge=1, le=8760)


class AlertSettings(_Section):
    warnings: bool = True
    attempts: int = Field(3, ge=1, le=10)
    timeout_seconds: int = Field(10, ge=1, le=60)


class NotificationSettings(_Section):
    lines: int = Field(20, ge=1, le=50)


class LoggingSettings(_Section):
    format: Literal["text", "json"] = "text"


class HubspotObjectSettings(_Section):
    match: str | None = Field(None, pattern=r"^[a-z][a-z0-9_]*$")
    mode: Literal["upsert", "update", "create"] = "upsert"


class HubspotSettings(_Section):
    live: bool = False
    portal_id: int | None = Field(None, ge=1)
    rate_share: float = Field(1.0, gt=0, le=1)
    daily_share: float = Field(1.0, gt=0, le=1)
    timeout_seconds: int = Field(30, ge=1, le=600)
    recreate_deleted: bool = False
    lists: bool = False
    associate: bool = False
    events: bool = False
    clear: list[str] = Field(default_factory=list)
    free_mail_domains: list[str] = Field(default_factory=list)
    changes_days: int = Field(90, ge=1, le=36500)
    refused_share: float = Field(0.2, ge=0, le=1)
    companies: HubspotObjectSettings = Field(default_factory=HubspotObjectSettings)
    contacts: HubspotObjectSettings = Field(default_factory=HubspotObjectSettings)


class CustomerSuccessBoxSettings(_Section):
    live: bool = False
    end_of_day: Annotated[str, AfterValidator(_cron)] = "45 23 * * *"
    margin_seconds: int = Field(120, ge=0, le=3600)
    calls_per_second: float = Field(5, gt=0, le=1000)
    timeout_seconds: int = Field(30, ge=1, le=600)


class PortalSettings(_Section):
    url: str | None = Field(None, pattern=r"^https?://[^\s<>|]+$")
    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8321, ge=0, le=65535)
    names: list[str] = Field(default_factory=list)


class Settings(_Section):
    """All settings. `data` and `raw` are folders, which need not exist yet; `raw` may be a bucket's address instead."""

    data: Path
    raw: Path | str
    warehouse: WarehouseSettings = Field(default_factory=WarehouseSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    metadata: MetadataSettings = Field(default_factory=MetadataSettings)
    features: FeatureSettings = Field(default_factory=FeatureSettings)
    usage: UsageSettings = Field(default_factory=UsageSettings)
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)
    retries: RetrySettings = Field(default_factory=RetrySettings)
    freshness: FreshnessSettings = Field(default_factory=FreshnessSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    notifications: NotificationSettings = Field(default_factory=NotificationSettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    hubspot: HubspotSettings = Field(default_factory=HubspotSettings)
    customersuccessbox: CustomerSuccessBoxSettings = Field(default_factory=CustomerSuccessBoxSettings)
    portal: PortalSettings = Field(default_factory=PortalSettings)

    def while_loading(self, source: str) -> dict[str, Any]:
        """The settings that act on a source's files while they are loaded, as section.key to value."""
        return {
            f"{section}.{key}": getattr(getattr(self, section), key)
            for section, key, marked in _while_loading()
            if marked.source in (None, source)
        }

    def as_when_loaded(self, given: Mapping[str, Any]) -> Settings:
        """These settings, with those that act while loading as they were for a file. One that was not there yet: its default."""
        sections: dict[str, dict[str, Any]] = {}
        for section, key, _ in _while_loading():
            default = type(getattr(self, section)).model_fields[key].default
            sections.setdefault(section, {})[key] = given.get(f"{section}.{key}", default)
        return self.model_copy(
            update={name: getattr(self, name).model_copy(update=new) for name, new in sections.items()}
        )

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
    def portal_url(self) -> str:
        """Where people open the portal, for links to it."""
        return (self.portal.url or f"http://{self.portal.host}:{self.portal.port}").rstrip("/")

    @property
    def dagster_home(self) -> Path:
        home = os.environ.get("DAGSTER_HOME")
        return Path(home).absolute() if home else self.data / "dagster"


@cache
def _while_loading() -> tuple[tuple[str, str, WhileLoading], ...]:
    """Section, key and mark of each setting that acts while files are loaded."""
    return tuple(
        (section, key, mark)
        for section, holder in Settings.model_fields.items()
        if isinstance(holder.annotation, type) and issubclass(holder.annotation, _Section)
        for key, field in holder.annotation.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, WhileLoading)
    )


_PACKAGE = Path(__file__).resolve().parent
# A wheel carries what lies at the top of the checkout beside the package (see setup.py).
_SHIPPED = _PACKAGE / "shipped"


def shipped_root() -> Path:
    """The folder that holds what comes with the release: `sql/`, `deploy/`, `docs/`, the sample."""
    return _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent


def project_folder() -> Path:
    """The user's own folder: the checkout; of an installed package, where `warehouse new` made one.

    That is WAREHOUSE_PROJECT, else the nearest folder with a `warehouse.toml` from here upwards, else this folder.
    """
    given = os.environ.get("WAREHOUSE_PROJECT")
    if given:
        return Path(given).absolute()
    if not _SHIPPED.is_dir():
        return _PACKAGE.parent
    here = Path.cwd()
    return next((f for f in (here, *here.parents) if (f / "warehouse.toml").is_file()), here)


def project_root() -> Path:
    """The folder that holds `sql/`: the release's files, with the project's own laid over them."""
    shipped, own = shipped_root(), project_folder()
    return shipped if own == shipped else projects.laid_over(shipped, own)


def portal_password() -> str | None:
    """What the portal asks for before it shows anything, or None: it asks for nothing."""
    return os.environ.get("WAREHOUSE_PORTAL_PASSWORD") or None


def ui_password() -> str | None:
    """What Dagster's UI asks for, or None: it asks for nothing."""
    return os.environ.get("WAREHOUSE_UI_PASSWORD") or None


def token_key(settings: Settings) -> bytes | None:
    """The key of the hashes that stand for session tokens, or None: tokens are kept as they are.

    Raises SettingsError where the settings ask for hashes, and there is no key to speak of.
    """
    if not settings.privacy.hash_tokens:
        return None
    key = os.environ.get("WAREHOUSE_TOKEN_KEY", "").strip()
    if len(key) < _SHORTEST_KEY:
        raise SettingsError(
            f"privacy.hash_tokens = true needs a key of {_SHORTEST_KEY} characters or more in WAREHOUSE_TOKEN_KEY; "
            f"{'it is shorter' if key else 'it is not set'}. Make one with `openssl rand -hex 32`, and keep it"
        )
    return key.encode()


def spark_token(settings: Settings) -> str | None:
    """What a cluster asks for, or None: it asks for nothing. It is handed to the connection only, never stored.

    Raises SettingsError where it, or the key of tokens, would travel unencrypted.
    """
    engine, token = settings.engine, os.environ.get("WAREHOUSE_SPARK_TOKEN", "").strip()
    secret = (
        "WAREHOUSE_SPARK_TOKEN" if token else "the key of tokens" if settings.privacy.hash_tokens else None
    )
    if secret and not engine.is_encrypted and not engine.is_this_machine:
        raise SettingsError(
            f"engine.remote = {engine.remote!r}: {secret} would travel to it unencrypted; let the server speak TLS, and add "
            "/;use_ssl=true to the address"
        )
    return token or None


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
            f"HUBSPOT_BASE_URL = {without_passwords(url)!r}: must begin with https:// (or http:// for an emulator); "
            "unset it for HubSpot's own address"
        )
    return url


def csb_api_key() -> str | None:
    """CustomerSuccessBox's API key, or None. It is handed to the HTTP session only, never stored."""
    return os.environ.get("CSB_API_KEY", "").strip() or None


def csb_base_url() -> str | None:
    """Where CustomerSuccessBox's API answers, or None. Raises SettingsError on what is no http(s) address."""
    url = os.environ.get("CSB_BASE_URL", "").strip().rstrip("/")
    if url and not url.startswith(("https://", "http://")):
        raise SettingsError(
            f"CSB_BASE_URL = {url!r}: must begin with https:// (or http:// for a stand-in), "
            "such as https://<domain>.customersuccessbox.com"
        )
    return url or None


def alert_webhook() -> str | None:
    """Where alerts are posted to, or None. Secret: who knows the address can write there."""
    url = os.environ.get("WAREHOUSE_ALERT_WEBHOOK", "").strip()
    if url and not url.startswith(("https://", "http://")):
        raise SettingsError(
            "WAREHOUSE_ALERT_WEBHOOK = ***: must begin with https:// (or http://); or unset it"
        )
    return url or None


_WEBHOOK = "WAREHOUSE_WEBHOOK_"


def notification_webhook(name: str | None) -> tuple[str | None, str]:
    """Where notifications are posted to (None: nowhere yet), and the variable that says so. As secret as that of alerts.

    name: from the cohort's file; None: where the alerts go.
    """
    if name is None:
        return alert_webhook(), "WAREHOUSE_ALERT_WEBHOOK"
    variable = f"{_WEBHOOK}{name.upper()}"
    url = os.environ.get(variable, "").strip()
    if url and not url.startswith(("https://", "http://")):
        raise SettingsError(f"{variable} = ***: must begin with https:// (or http://); or unset it")
    return url or None, variable


_SECRETS = (
    "WAREHOUSE_TOKEN_KEY",
    "WAREHOUSE_SPARK_TOKEN",
    "WAREHOUSE_ALERT_WEBHOOK",
    "WAREHOUSE_PORTAL_PASSWORD",
    "WAREHOUSE_UI_PASSWORD",
    "HUBSPOT_ACCESS_TOKEN",
    "HUBSPOT_CLIENT_SECRET",
    "HUBSPOT_REFRESH_TOKEN",
    "CSB_API_KEY",
)


def without_secrets(text: str) -> str:
    """Text that leaves the machine or goes to a log, with the secrets of the environment replaced."""
    for name in (*_SECRETS, *(name for name in os.environ if name.startswith(_WEBHOOK))):
        secret = os.environ.get(name, "").strip()
        if len(secret) > 3:  # shorter is none, and would spoil the text
            text = text.replace(secret, "***")
    return text


_USERINFO = re.compile(r"(?<=://)[^/?#@\s'\"]*:[^/?#\s'\"]*@")
_SECRET_VALUE = re.compile(
    r"([?&][^=&\s'\"]*(?:key|secret|token|sig|pass|cred)[^=&\s'\"]*=)[^&#\s'\"]+", re.IGNORECASE
)


def without_passwords(text: str) -> str:
    """Text with addresses in it as it is shown: without the passwords and keys that they may carry."""
    return _SECRET_VALUE.sub(r"\1***", _USERINFO.sub("***@", text))


def _require_a_project(file: Path) -> None:
    """An installed package that is run anywhere would begin a warehouse there, which nobody wants who forgot a `cd`."""
    told = ("WAREHOUSE_PROJECT", "WAREHOUSE_DATA", "WAREHOUSE_CONFIG")
    here = project_folder()
    if not _SHIPPED.is_dir() or any(map(os.environ.get, told)) or file.exists() or (here / "data").exists():
        return
    raise SettingsError(
        f"There is no project here: neither {here} nor a folder above it has a warehouse.toml. Go to your project, make one "
        "with `warehouse new FOLDER`, or set WAREHOUSE_DATA to a data folder"
    )


def load_settings() -> Settings:
    """Read `WAREHOUSE_CONFIG` (default `warehouse.toml`) and the `WAREHOUSE_*` variables.

    Raises SettingsError on a file that cannot be read, unknown keys and wrong values.
    """
    configured, file = os.environ.get("WAREHOUSE_CONFIG"), _file()
    _require_a_project(file)
    values: dict[str, Any] = {}
    if configured and not file.is_file():
        raise SettingsError(f"WAREHOUSE_CONFIG = {configured!r}: no such file; name a TOML file or unset it")
    if file.exists() and not file.is_file():
        raise SettingsError(f"{file} is no file: move it away, or name a TOML file in WAREHOUSE_CONFIG")
    if file.is_file():
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
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
    data = Path(os.environ.get("WAREHOUSE_DATA") or project_folder() / "data").absolute()
    try:
        return Settings(data=data, raw=_raw(data), **values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(file.name, e) for e in error.errors())) from None


_STORES = ("s3", "gs", "abfs", "abfss")
_STORE_EXAMPLES = (
    "s3://bucket/folder, gs://bucket/folder or abfs://container@account.dfs.core.windows.net/folder"
)


def _raw(data: Path) -> Path | str:
    """Where raw files lie: a folder, or an address of object storage as pyarrow takes it."""
    given = os.environ.get("WAREHOUSE_RAW") or str(data / "raw")
    if "://" not in given:
        return Path(given).absolute()
    url = urlsplit(given)
    if url.scheme == "az":
        # As others write it: the account is named apart.
        account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        if not account:
            raise SettingsError(
                f"WAREHOUSE_RAW = {without_passwords(given)!r}: az:// needs AZURE_STORAGE_ACCOUNT_NAME; set it, or write "
                "abfs://container@account.dfs.core.windows.net/folder"
            )
        url = url._replace(scheme="abfs", netloc=f"{url.netloc}@{account}.dfs.core.windows.net")
    if url.scheme not in _STORES or not url.netloc:
        raise SettingsError(
            f"WAREHOUSE_RAW = {without_passwords(given)!r}: name a folder on this machine, or {_STORE_EXAMPLES}"
        )
    if (url.scheme in ("s3", "gs") and "@" in url.netloc) or url.password:
        raise SettingsError(
            "WAREHOUSE_RAW holds credentials: leave them out; they are taken from the environment "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, say)"
        )
    if url.scheme == "s3" and (own := own_store()) and "endpoint_override" not in url.query:
        url = url._replace(query="&".join(filter(None, [url.query, own])))
    return url.geturl()


def own_store() -> str:
    """Where `s3://` is, where that is not Amazon's, as pyarrow takes it behind an address's `?`; else ''."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return ""
    # pyarrow would ask Amazon for the bucket's region first.
    return urlencode({"endpoint_override": urlsplit(endpoint).netloc, "scheme": urlsplit(endpoint).scheme})


def _explain(file: str, error: Any) -> str:
    """One validation error as: file: key = value: what is wrong; what would be right."""
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    is_unknown = error["type"] == "extra_forbidden"
    # A secret that was put here by mistake is not repeated on a screen or in a log.
    told = f"{key} {error['input']}"  # of an unknown section, all that is in it
    may_hold_one = is_unknown or key in ("engine.remote", "engine.storage")
    hides = may_hold_one and re.search("token|secret|password|key|@", told, re.IGNORECASE)
    given = "***" if hides else repr(error["input"])
    if is_unknown:
        section: Any = Settings
        for part in location[:-1]:
            section = section.model_fields[part].annotation
        return _unknown(file, key, given, set(section.model_fields) - {"data", "raw"})
    message = error["msg"].removeprefix("Value error, ")
    return f"{file}: {key} = {given}: {message[0].lower()}{message[1:]}"


def unknown_key(key: str, given: object, known: Iterable[str]) -> SettingsError:
    """The error for a key that only those who know what there is can tell to be none. key: with its section."""
    return SettingsError(_unknown(_file().name, key, repr(given), known))


def _unknown(file: str, key: str, given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key.rpartition(".")[2], sorted(known), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(sorted(known))}"
    return f"{file}: {key} = {given}: unknown key; {hint}"


def _file() -> Path:
    configured = os.environ.get("WAREHOUSE_CONFIG")
    return Path(configured) if configured else project_folder() / "warehouse.toml"
