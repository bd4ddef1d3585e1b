"""Wrong settings stop a command before anything is touched, and say which key, which value, and what is right."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dagster_project.cli import main
from dagster_project.settings import (
    RetentionSettings,
    Settings,
    SettingsError,
    load_settings,
    project_root,
    spark_token,
)
from dagster_project.sources import retained_tables

pytestmark = pytest.mark.fast

VARIABLES = ("WAREHOUSE_DATA", "WAREHOUSE_RAW", "WAREHOUSE_CONFIG", "HUBSPOT_BASE_URL", "DAGSTER_HOME")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WAREHOUSE_CONFIG", str(tmp_path / "warehouse.toml"))
    (tmp_path / "warehouse.toml").write_text("")
    return tmp_path


def run(folder: Path, toml: str, *command: str) -> Result:
    (folder / "warehouse.toml").write_text(toml, encoding="utf-8")
    return CliRunner().invoke(main, command or ("run",))


def assert_refused(result: Result, folder: Path, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output
    assert not (folder / "data").exists(), "something was touched"


# section and key, value as TOML, what the text must name besides
WRONG: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("warehouse", "memory_limit", '"lots"', ("'lots'", "GB")),
    ("warehouse", "memory_limit", "2", ("2", "string")),
    ("privacy", "hash_tokens", '"yes"', ("'yes'", "boolean")),
    ("metadata.pins", "api_key", '"text"', ("'text'", "'string', 'number'")),
    ("warehouse", "memory_limit", '"0GB"', ("'0GB'", "100MB at least")),
    ("warehouse", "threads", "-1", ("-1", "greater than or equal to 0")),
    ("warehouse", "threads", '"4"', ("'4'", "integer")),
    ("warehouse", "threads", "true", ("True", "integer")),
    ("warehouse", "lock_wait_seconds", "-5", ("-5", "greater than or equal to 0")),
    ("warehouse", "lock_wait_seconds", "1.5", ("1.5", "integer")),
    ("engine", "kind", '"cluster"', ("'cluster'", "'local' or 'spark'")),
    ("engine", "remote", '"spark.example:15002"', ("sc://spark.example:15002",)),
    ("engine", "remote", '"sc://h:15002/;token=abcdef"', ("***", "WAREHOUSE_SPARK_TOKEN")),
    ("engine", "storage", '"here"', ("'here'", "absolute path")),
    ("engine", "storage", '"gs://bucket"', ("'gs://bucket'", "s3://bucket/folder, or the absolute path")),
    ("engine", "storage", '"s3://AKIA:hush@bucket/x"', ("***", "without credentials")),
    ("metadata", "on_conflict", '"drop"', ("'drop'", "drop_value", "reject_update")),
    ("metadata", "lock_scope", '"company"', ("'company'", "organization", "entity")),
    ("metadata", "pins", '{ phone = "text" }', ("phone", "'text'", "string", "boolean")),
    ("metadata", "pins", '["phone"]', ("phone", "dictionary")),
    ("features", "accept_backdated", '"yes"', ("'yes'", "boolean")),
    ("features", "accept_backdated", "1", ("1", "boolean")),
    ("features", "feature_limit", "0", ("0", "greater than or equal to 1")),
    ("features", "module_limit", '"256"', ("'256'", "integer")),
    ("retention", "api_calls_days", "-1", ("-1", "greater than or equal to 0")),
    ("retention", "actions_days", '"5"', ("'5'", "integer")),
    ("schedule", "nightly", '"every night"', ("'every night'", "cron")),
    ("schedule", "nightly", '"99 2 * * *"', ("'99 2 * * *'",)),
    ("schedule", "nightly", '"a b c d e"', ("'a b c d e'",)),
    ("schedule", "nightly", '"0 2 30 2 *"', ("'0 2 30 2 *'", "of times that there are")),
    ("schedule", "sync", '"15 minutes"', ("'15 minutes'", "cron")),
    ("schedule", "timezone", '"Mars/Olympus"', ("'Mars/Olympus'",)),
    ("customersuccessbox", "end_of_day", '"24 25 * * *"', ("24 25", "cron")),
    ("customersuccessbox", "margin_seconds", "-1", ("-1", "greater than or equal to 0")),
    ("customersuccessbox", "calls_per_second", "0", ("0", "greater than 0")),
    ("hubspot", "live", '"true"', ("'true'", "boolean")),
    ("hubspot", "portal_id", "0", ("0", "greater than or equal to 1")),
    ("hubspot", "rate_share", "0", ("0", "greater than 0")),
    ("hubspot", "daily_share", "1.5", ("1.5", "less than or equal to 1")),
    ("hubspot", "daily_share", "nan", ("nan",)),
    ("hubspot", "timeout_seconds", "0", ("0", "greater than or equal to 1")),
    ("hubspot", "recreate_deleted", "0", ("0", "boolean")),
    ("hubspot", "lists", '"yes"', ("'yes'", "boolean")),
]


@pytest.mark.parametrize(
    ("section", "key", "value", "words"), WRONG, ids=[f"{key} = {value}" for _, key, value, _ in WRONG]
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_right(
    folder: Path, section: str, key: str, value: str, words: tuple[str, ...]
) -> None:
    result = run(folder, f"[{section}]\n{key} = {value}\n")
    assert_refused(result, folder, f"{section}.{key}", *words)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[warehouse]\nmemory_limt = '2GB'", ("warehouse.memory_limt", "'2GB'", "'memory_limit'")),
        ("[features]\nlimit = 5", ("features.limit", "5", "feature_limit, module_limit")),
        ("[warehose]\nthreads = 1", ("warehose", "'warehouse'")),
        ("[retention]\napi_call_days = 5", ("retention.api_call_days", "5", "'api_calls_days'")),
        ("[retention]\nrows = 5", ("retention.rows", "actions_days, api_calls_days", "rejects_days")),
        ("[sources]\nx = 1", ("sources", "alerts, customersuccessbox, engine, features, freshness, hubspot")),
        ("threads = 1", ("threads", "1", "known keys here")),
        ("warehouse = 5", ("warehouse", "5")),
        ("data = 'x'", ("data", "'x'", "WAREHOUSE_DATA")),
        ("raw = 'x'", ("raw", "'x'", "WAREHOUSE_RAW")),
        ("[hubspot]\naccess_token = 'pat-na1-0'", ("hubspot.access_token",)),
    ],
)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(
    folder: Path, toml: str, words: tuple[str, ...]
) -> None:
    assert_refused(run(folder, toml), folder, *words)


@pytest.mark.parametrize("section", ["hubspot", "hubspott"])
def test_a_secret_in_the_settings_file_is_not_printed(folder: Path, section: str) -> None:
    result = run(folder, f"[{section}]\naccess_token = 'pat-na1-secret'")
    assert_refused(result, folder, section)
    assert "pat-na1-secret" not in result.output


def test_all_wrong_keys_are_named_at_once(folder: Path) -> None:
    result = run(folder, "[warehouse]\nthreads = -1\n[features]\nmodule_limit = 0\n")
    assert_refused(result, folder, "warehouse.threads", "features.module_limit")


@pytest.mark.parametrize("toml", ["[warehouse", "threads = ", "a = 1\na = 2", "[features]\nx = \udcff"])
def test_a_file_that_is_no_toml_is_named(folder: Path, toml: str) -> None:
    (folder / "warehouse.toml").write_bytes(toml.encode("utf-8", "surrogateescape"))
    result = CliRunner().invoke(main, ["run"])
    assert_refused(result, folder, "warehouse.toml", "TOML")


def test_a_settings_file_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", deny)
    assert_refused(CliRunner().invoke(main, ["run"]), folder, "warehouse.toml", "ermission denied")


def test_a_byte_order_mark_and_a_relative_storage_are_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "warehouse.toml").write_text("\ufeff[features]\nfeature_limit = 7\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", "storage")
    assert load_settings().features.feature_limit == 7
    assert load_settings().dagster_home == Path.cwd() / "storage"


def test_a_settings_file_that_is_named_must_exist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_CONFIG", str(folder / "nowhere.toml"))
    assert_refused(CliRunner().invoke(main, ["run"]), folder, "WAREHOUSE_CONFIG", "nowhere.toml")


@pytest.mark.parametrize("address", ["ftp://host/raw", "s3:///raw", "az://container/raw"])
def test_an_address_that_is_no_place_for_raw_files_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("WAREHOUSE_RAW", address)
    assert_refused(CliRunner().invoke(main, ["run"]), folder, "WAREHOUSE_RAW", address, "folder")


def test_credentials_in_an_address_are_refused_and_not_repeated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_RAW", "s3://AKIA:hunter2@bucket/raw")
    result = CliRunner().invoke(main, ["run"])
    assert_refused(result, folder, "WAREHOUSE_RAW", "credentials")
    assert "hunter2" not in result.output


@pytest.mark.parametrize("command", [("run",), ("run", "--full"), ("status",), ("sql", "SELECT 1")])
def test_every_command_refuses_wrong_settings(folder: Path, command: tuple[str, ...]) -> None:
    assert_refused(run(folder, "[warehouse]\nthreads = -1", *command), folder, "warehouse.threads")


def test_help_needs_no_settings(folder: Path) -> None:
    for command in (["--help"], ["run", "--help"], ["-h"]):
        result = run(folder, "[warehouse]\nthreads = -1", *command)
        assert result.exit_code == 0, result.output
    assert not (folder / "data").exists()


def test_the_file_of_the_project_says_the_defaults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAREHOUSE_CONFIG")
    data = folder / "data"
    kept_for_ever = RetentionSettings.model_validate({f"{name}_days": 0 for name in retained_tables()})
    assert load_settings() == Settings(data=data, raw=data / "raw", retention=kept_for_ever)


def test_the_file_of_the_project_documents_every_key() -> None:
    text = (project_root() / "warehouse.toml").read_text(encoding="utf-8")
    given = tomllib.loads(text)
    for section, field in Settings.model_fields.items():
        if section not in ("data", "raw"):
            keys = field.annotation.model_fields  # type: ignore[union-attr]
            for key in keys:
                assert key in given[section] or f"# {key} = " in text, f"{section}.{key}"


def test_an_empty_variable_counts_as_not_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_RAW", "")
    assert load_settings().raw == folder / "data/raw"


def test_relative_folders_are_below_the_current_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WAREHOUSE_DATA", "here")
    assert load_settings().warehouse_file == folder / "here/warehouse.duckdb"


def test_a_cluster_needs_its_address_and_its_folder(folder: Path) -> None:
    result = run(folder, '[engine]\nkind = "spark"\nremote = "sc://h"\n')
    assert_refused(result, folder, "engine", "storage", "docs/scale.md")


def test_secrets_do_not_travel_to_a_cluster_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_SPARK_TOKEN", "a-secret-token")

    def token(remote: str, **sections: object) -> str | None:
        engine = {"kind": "spark", "remote": remote, "storage": "/mnt"}
        return spark_token(
            Settings.model_validate({"data": Path(), "raw": Path(), "engine": engine, **sections})
        )

    assert token("sc://127.0.0.1:1") == token("sc://h/;use_ssl=true") == "a-secret-token"
    with pytest.raises(SettingsError, match="WAREHOUSE_SPARK_TOKEN would travel"):
        token("sc://h:15002")
    monkeypatch.delenv("WAREHOUSE_SPARK_TOKEN")
    assert token("sc://h:15002") is None
    with pytest.raises(SettingsError, match="key of tokens would travel"):
        token("sc://h:15002", privacy={"hash_tokens": True})
