"""Told to stop, a command says what it was at and stops, whoever thinks that the signal is theirs. Addresses hide passwords."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.readers.raw_storage import ObjectStore, RawStorageError
from dagster_project.settings import SettingsError, load_settings, without_passwords

# As Dagster does: a handler of its own, whose exception a step takes for its own failure and tries again.
STUBBORN = """
import logging, signal, sys, time
from dagster_project.cli.stopping import stopped_at_once

def mine(*_):
    raise RuntimeError

with stopped_at_once("run", lambda text: print(text, flush=True), signal.SIGTERM, signal.SIGINT):
    logging.getLogger("dagster_project.x").debug("loading 3/7 events/a.jsonl")
    signal.signal(signal.SIGINT, mine)
    signal.signal(signal.SIGTERM, mine)
    for second in range(60):
        try:
            if not second:
                print("ready", flush=True)
            time.sleep(1)
        except RuntimeError:
            print("tried again", flush=True)
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_told_to_stop_says_what_it_was_at(told: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(told)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 1
    assert (
        f"`warehouse run` was stopped by {told.name} while loading 3/7 events/a.jsonl. Nothing is lost"
        in said
    )


@pytest.mark.parametrize(
    "address",
    [
        "https://jo:hunter22@host.example/raw",
        "s3://AKIA:hunter22@bucket/raw",
        "ftp://host.example/raw?sig=hunter22&region=x",
        "s3x://bucket/raw?secret_key=hunter22",
    ],
)
def test_an_address_is_shown_without_its_password(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WAREHOUSE_RAW", address)
    monkeypatch.setenv("WAREHOUSE_DATA", str(tmp_path))
    with pytest.raises(SettingsError) as wrong:
        load_settings()
    assert "hunter22" not in str(wrong.value)
    shown = without_passwords(f"cannot reach {address!r}: no")
    assert "hunter22" not in shown
    assert "/raw" in shown


def test_what_a_store_says_is_shown_without_passwords(tmp_path: Path) -> None:
    store = ObjectStore("s3://user:hunter22@bucket/raw?secret_key=hunter22", tmp_path)
    error = store._explained(OSError("cannot reach s3://user:hunter22@bucket/raw?secret_key=hunter22"))
    assert isinstance(error, RawStorageError)
    assert "hunter22" not in f"{store.name} {error}"
    assert "bucket/raw" in store.name
