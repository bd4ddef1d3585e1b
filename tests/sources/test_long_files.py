"""Lines, arrays and elements that are longer than memory: read in pieces, with the same result as at once."""

# ruff: noqa: DTZ001  (the warehouse keeps UTC without a zone)
from __future__ import annotations

import gzip
import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from soak import budget

from dagster_project.readers import json_arrays, json_records
from dagster_project.readers.files import FilePart, UnreadableFile
from dagster_project.readers.raw_storage import LocalFile

NEVER = 1 << 60
Read = list[tuple[Any, ...]] | str


def read(file: Path) -> Read:
    """Every record of a file with all that is known of it, or why it cannot be read."""
    data = file.read_bytes()
    part = FilePart(
        1,
        "events",
        file.name,
        LocalFile(str(file)),
        0,
        0,
        len(data),
        None,
        datetime(2026, 4, 1),
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    try:
        return [
            # The text of a line that is short has the blanks before its value, too.
            (r.line, r.element, repr(r.value), r.raw().strip(), r.repairs, r.bad)
            for r in json_records.read(part, exact=True)
        ]
    except UnreadableFile:
        return "unreadable"


def in_pieces(
    monkeypatch: pytest.MonkeyPatch, at_once: int = 24, piece: int = 5, longest: int = NEVER
) -> None:
    monkeypatch.setattr(json_records, "_AT_ONCE", at_once)
    monkeypatch.setattr(json_arrays, "_PIECE", piece)
    monkeypatch.setattr(json_arrays, "LONGEST_RECORD", longest)
    monkeypatch.setattr(json_records, "LONGEST_RECORD", longest)


NASTY = [
    '{"a": "\\ud800", "b": NaN}',
    '{"a": 1, "b": 2, "a": 3}',
    "12345678901234567890123",
    "-Infinity",
    "1e999",
    '"text with ] and , and \\" and \\\\"',
    '[1, [2, {"x": "}"}]]',
    "[]",
    "{}",
    "null",
    '{"\\u00e9\u2028": "é\U0001f600"}',
    "[" * 250 + "]" * 250,
    "{bad}",
    '"open',
    "tru",
    "",
]
texts = st.lists(st.sampled_from(NASTY), max_size=6)
files = st.one_of(
    texts.map(lambda ts: "[" + ",\n ".join(ts) + "]\n"),
    texts.map(lambda ts: "\n".join(f"[{t},{t}]" for t in ts)),
    texts.map("\r\n".join),
    st.tuples(texts, texts).map(lambda t: "[" + ",".join(t[0]) + "]\n" + "\n".join(t[1])),
).map(str.encode)
cuts = st.tuples(
    files, st.integers(0, 400), st.sampled_from([b"", b"\xff", b"\xed\xa0\x80", b"\\", b"\xe2\x80"])
)


@pytest.mark.soak
def test_in_pieces_is_as_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("long")

    @settings(max_examples=budget(150, 3000), deadline=None, database=None)
    @given(cuts, st.sampled_from(["json", "jsonl", "jsonl.gz"]), st.integers(1, 60))
    # More blanks than are held in memory.
    @example((b'{"a": 1}\n  [1, {"x": "}"}],\n{}\n', 0, b""), "jsonl", 1)
    @example((b'{"a": 1}\n   \n{}\n', 0, b""), "jsonl", 1)
    # All of a file, behind a blank line.
    @example((b'\r\n[1, {"x": "}"}]', 0, b""), "json", 1)
    @example((b'\r\n[1, {"x": "}"}],\n{}', 0, b""), "jsonl", 1)
    def check(cut: tuple[bytes, int, bytes], ending: str, at_once: int) -> None:
        data, at, put = cut
        data = data[:at] + put + data[at:] if put else data
        file = folder / f"a.{ending}"
        file.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
        whole = read(file)
        with pytest.MonkeyPatch.context() as patch:
            in_pieces(patch, at_once=at_once)
            assert read(file) == whole

    check()


LIMIT = 1000


@pytest.mark.parametrize("shape", ["lines", "array", "array over lines", "batch"])
@pytest.mark.parametrize(
    "long",
    [
        json.dumps({"text": "x" * 3000}),
        json.dumps({"text": '\\"' * 3000}),
        json.dumps([{"deep": [n, "],}"]} for n in range(200)]),
        '{"open": ' + "[" * 3000 + "]" * 3000 + "}",
        "9" * 3000,
    ],
)
def test_of_a_record_that_is_too_long_its_beginning_is_kept_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str, long: str
) -> None:
    in_pieces(monkeypatch, longest=LIMIT)
    if shape == "lines" and long.startswith("["):
        long = '{"a": ' + long + "}"
    file = tmp_path / ("a.jsonl" if shape in ("lines", "batch") else "a.json")
    joint = {"lines": "\n", "array over lines": ",\n"}.get(shape, ",")
    text = joint.join(['{"n": 1}', long, '{"n": 2}'])
    file.write_text({"lines": text}.get(shape, f"[{text}]") + ("\n{}\n" if shape == "batch" else ""))
    records = read(file)
    assert isinstance(records, list)
    assert [(r[2], r[5] is None) for r in records[:3]] == [
        ("{'n': 1}", True),
        ("None", False),
        ("{'n': 2}", True),
    ]
    assert "longer than" in records[1][5]
    assert long.startswith(records[1][3])
    assert len(records) == 3 + (shape == "batch")


def test_a_wrong_element_is_wrong_and_not_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pieces(monkeypatch, longest=50)
    file = tmp_path / "a.json"
    file.write_text("[" + ",".join(["{}"] * 30) + ",{bad}," + ",".join(["{}"] * 300) + "]")
    assert read(file) == "unreadable"
