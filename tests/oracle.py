"""A second, independent reading of the data contract, in the plainest Python there is.

Written from the contract alone (sections 1 to 4), slow and obvious; but for .zst with the standard library only. Tests feed the
same raw files to this and to the warehouse and compare the tables. Everything is kept in lists and walked
in the contract's order O; nothing is incremental, except what the contract itself makes depend on nights
(which file is new, which file grew, when it was first seen).

Not covered: Parquet, XLSX, cohorts, HubSpot.
"""

# ruff: noqa: DTZ001, DTZ007, DTZ901  (the contract keeps times as naive UTC)
from __future__ import annotations

import copy
import gzip
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

import zstandard

Json = Any
Row = dict[str, Any]
Order = tuple[int, int, int]  # (file_seq, line, element)

BIGGEST_INTEGER_IN_JSON = 2**53
BIGGEST_BIGINT = 2**63 - 1


@dataclass(frozen=True)
class Night:
    """One run of the warehouse."""

    at: datetime  # naive UTC: the clock during that run = first-seen time of files first seen in it
    files: dict[str, bytes]  # path below raw/ -> content written before this run (only changes)
    removed: tuple[str, ...] = ()
    withdrawn: tuple[int, ...] = ()  # files that were taken back before this run


@dataclass(frozen=True)
class OracleSettings:
    feature_limit: int = 256
    module_limit: int = 256
    accept_backdated: bool = False
    on_conflict: str = "drop_value"  # or "reject_update"
    lock_scope: str = "organization"  # or "entity"
    pins: Mapping[str, str] = field(default_factory=dict)
    routes: str = "failed"  # or "all"


DEFAULTS = OracleSettings()


# ---------------------------------------------------------------------------------------------------------
# Values: ids, times, JSON that is not strict, match keys


def id_of(value: Json) -> str | None:
    """Strings as they are, whole numbers in decimal; blank or anything else is missing."""
    if isinstance(value, bool):
        return None
    if is_whole_float(value):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and value.strip() != "":
        return value
    return None


def is_whole_float(value: Json) -> bool:
    """Data frames write integers so."""
    return isinstance(value, float) and value == value // 1


TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r"(?:(Z|z| UTC)|([+-])([0-9]{2})(?::?([0-9]{2}))?)?)?"
)


def time_of(value: Json) -> datetime | None:
    """Moments before 1990 stand for none."""
    if isinstance(value, bool):
        return None
    at = None
    if isinstance(value, int | float):
        at = time_of_number(value)
    elif isinstance(value, str):
        at = time_of_text(value)
    return at if at is not None and at >= datetime(1990, 1, 1) else None


def time_of_number(value: float) -> datetime | None:
    """Seconds since 1970, or milliseconds where there are too many."""
    unit = 1_000_000 if value < 100_000_000_000 else 1_000
    try:
        return datetime(1970, 1, 1) + timedelta(microseconds=int(Fraction(str(value)) * unit))
    except OverflowError:
        return None


def time_of_text(value: str) -> datetime | None:
    match = TIME.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, _z, sign, zone_hours, zone_minutes = match.groups()
    microsecond = int((fraction or "")[:6].ljust(6, "0"))  # further digits are cut, not rounded
    try:
        local = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), microsecond
        )
        if sign is None:
            return local
        if int(zone_hours) > 23 or int(zone_minutes or 0) > 59:
            return None
        offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes or 0))
        return local - offset if sign == "+" else local + offset
    except (ValueError, OverflowError):
        return None


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


class _NonFinite:
    """Stands for NaN, an infinity or 1e999 until the record is cleaned."""


class _BadJson:
    """Stands for a line that is no JSON."""


class _BadRow:
    """Stands for a row with more cells than there are columns."""


NON_FINITE = _NonFinite()
BAD_JSON = _BadJson()
BAD_ROW = _BadRow()


def _parse_float(text: str) -> Json:
    number = float(text)
    return NON_FINITE if number in (float("inf"), float("-inf")) else number


def _last_key_wins(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result: dict[str, Json] = {}
    for key, value in pairs:
        result.pop(key, None)  # the last one, at the last one's position
        result[key] = value
    return result


def parse_json(data: bytes) -> Json:
    """Raises ValueError where it is no JSON. Bad bytes stay as lone surrogates until cleaned."""
    text = data.decode("utf-8", "surrogateescape")
    value, end = decoder.raw_decode(text, len(text) - len(text.lstrip(" \t\r\n")))
    if text[end:].strip(" \t\r\n") != "":
        raise ValueError("more than a value")
    return value


decoder = json.JSONDecoder(
    parse_constant=lambda _: NON_FINITE,
    parse_float=_parse_float,
    object_pairs_hook=_last_key_wins,
)


def clean(value: Json, repairs: set[str]) -> Json:
    """NaN and infinities to null, lone surrogates and bytes that are not UTF-8 to U+FFFD."""
    if value is NON_FINITE:
        repairs.add("non_finite_number")
        return None
    if isinstance(value, str):
        cleaned = re.sub("[\ud800-\udfff]", "\ufffd", value)
        if cleaned != value:
            repairs.add("invalid_text")
        return cleaned
    if isinstance(value, list):
        return [clean(one, repairs) for one in value]
    if isinstance(value, dict):
        return _last_key_wins([(clean(k, repairs), clean(v, repairs)) for k, v in value.items()])
    return value


def domain_key(value: Json) -> str | None:
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if "://" in text:
        text = text.split("://", 1)[1]
    text = re.split(r"[/?#\\]", text, maxsplit=1)[0]
    text = text.rsplit("@", 1)[-1]
    if re.search(":[0-9]*$", text):
        text = text.rsplit(":", 1)[0]
    text = text.strip()
    text = text.removeprefix("www.")
    text = text.removesuffix(".")
    return host_of(text)


def host_of(text: str) -> str | None:
    """A host name in ASCII: with a dot in it, and two letters or more in its last label."""
    try:
        text = text.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    labels = text.split(".")
    if len(labels) < 2 or len(text) > 253:
        return None
    for label in labels:
        if not re.fullmatch("[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", label):
            return None
    return text if len(re.findall("[a-z]", labels[-1])) >= 2 else None


def email_key(value: Json) -> str | None:
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if text.count("@") != 1 or re.search(r"\s", text):
        return None
    name, host = text.split("@")
    return text if name != "" and host_of(host) is not None else None


def json_text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def type_of(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    assert isinstance(value, dict)
    return "object"


def saturated(numbers: Iterable[int]) -> int:
    return min(sum(numbers), BIGGEST_BIGINT)


# ---------------------------------------------------------------------------------------------------------
# Files: which are new, in which order, and the records in them


class UnreadableError(Exception):
    """A file of which nothing can be loaded."""


@dataclass
class RawRecord:
    line: int
    element: int
    value: Json


@dataclass
class RawFile:
    file_seq: int
    source: str
    path: str
    sha256: str
    night: int
    first_seen: datetime
    folder_date: date | None
    records: list[RawRecord]
    error: bool = False
    content: bytes = b""  # unpacked
    loaded: bytes = b""  # what was loaded of it, from the beginning of its content
    tail: RawRecord | None = None  # a last record without an end
    tail_is_rejected: bool = False
    at: set[str] = field(default_factory=set)  # the paths where it stands
    withdrawn: int | None = None  # the run before which it was taken back: nothing is ever loaded of it
    notes: list[tuple[int, str]] = field(default_factory=list)  # what was changed in all of it, and the line


SOURCES = (
    "events",
    "actions",
    "companies",
    "users",
    "subscriptions",
    "features",
    "crm/companies",
    "crm/contacts",
)
JSON_NAMES = (".json", ".jsonl", ".ndjson")
GROWING_NAMES = (*JSON_NAMES, ".csv")


def source_of(path: str) -> str | None:
    """The source whose folder the path lies in, if its format is one that this source may have."""
    for source in SOURCES:
        if path.startswith(source + "/"):
            break
    else:
        return None
    if path.endswith((".parquet", ".xlsx")):
        raise NotImplementedError(f"the oracle does not read {path}")
    name = unpacked_name(path)
    if source.startswith("crm/"):
        return source if name.endswith((".csv", ".zip")) else None
    if name.endswith(JSON_NAMES):
        return source
    return source if source == "features" and name.endswith(".csv") else None


def unpacked_name(path: str) -> str:
    return path.removesuffix(".gz").removesuffix(".zst")


def content_of(path: str, data: bytes) -> tuple[bytes, bool]:
    """A file's bytes, unpacked; and whether they can be."""
    try:
        if path.endswith(".gz"):
            return gzip.decompress(data), True
        if path.endswith(".zst"):
            with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as stream:
                return stream.read(), True
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        return data, False
    return data, True


def folder_date_of(path: str) -> date | None:
    found = None
    for folder in path.split("/")[:-1]:
        match = re.fullmatch(r"(?:dt|date)=([0-9]{4}-[0-9]{2}-[0-9]{2})", folder)
        if match is not None:
            try:
                found = datetime.strptime(match.group(1), "%Y-%m-%d").date()
            except ValueError:
                continue
    return found


def lines_of(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def is_blank(line: bytes) -> bool:
    return line.strip(b" \t\r\n") == b""


def without_bom(data: bytes) -> bytes:
    return data.removeprefix(b"\xef\xbb\xbf")


def begins_an_array_over_lines(data: bytes) -> bool:
    """The first line begins an array and does not end it: the file can only be one array."""
    for line in lines_of(without_bom(data)):
        if is_blank(line):
            continue
        if not line.lstrip(b" \t\r").startswith(b"["):
            return False
        text = line.decode("utf-8", "surrogateescape").strip(" \t\r")
        try:
            decoder.raw_decode(text)  # what follows on the line is another value
        except ValueError:
            return True
        return False
    return False


def read_json(data: bytes) -> list[RawRecord]:
    data = without_bom(data)
    try:
        whole = parse_json(data)
    except ValueError as error:
        if begins_an_array_over_lines(data):
            raise UnreadableError from error
    else:
        if isinstance(whole, list):
            return [RawRecord(1, n, value) for n, value in enumerate(whole, 1)]
    return read_json_lines(lines_of(data), 1)[0]


def read_json_lines(lines: list[bytes], first_line: int) -> tuple[list[RawRecord], int | None]:
    """Each value at the line on which it starts; one bad record for a line of which not all is JSON.

    And the line on which a value begins that is not whole when the lines end.
    """
    cut: int | None = None
    records: list[RawRecord] = []
    texts = [without_bom(line).decode("utf-8", "surrogateescape") for line in lines]
    index = 0
    column = 0  # where, on that line, the value before it ended
    while index < len(texts):
        here, begun = index, column
        if is_blank(texts[here][begun:].encode("utf-8", "surrogateescape")) or (
            begun > 0 and texts[here][begun:].strip(BETWEEN) == ""
        ):
            index, column = here + 1, 0
            continue
        values: list[Json] = []
        index, column = here + 1, 0
        rest = "\n".join(texts[here:])
        at = begun
        while True:
            while at < len(texts[here]) and texts[here][at] in BETWEEN:
                at += 1
            if at >= len(texts[here]):
                break
            try:
                value, end = decoder.raw_decode(rest, at)
            except json.JSONDecodeError as error:
                values = [BAD_JSON]
                index, column = here + 1, 0
                is_cut = (
                    error.msg.startswith("Unterminated string") or rest[error.pos :].strip(" \t\r\n") == ""
                )
                if (is_cut or here == len(texts) - 1) and begun == 0 and cut is None:
                    cut = here
                break
            values.append(value)
            at = end
            if end > len(texts[here]):  # it ran on: go on behind it
                over = rest[:end].count("\n")
                index, column = here + over, end - rest[:end].rfind("\n") - 1
                break
        number = first_line + here
        if values == []:  # commas: a value may follow them
            values = [BAD_JSON]
            if here == len(texts) - 1 and begun == 0 and cut is None:
                cut = here
        if len(values) == 1 and isinstance(values[0], list):
            values = values[0]
        records += [RawRecord(number, n, value) for n, value in enumerate(values, 1)]
    return records, cut


BETWEEN = " \t\r\n,"


def csv_text(data: bytes, first_line: int, notes: list[tuple[int, str]]) -> str:
    """UTF-8, or UTF-16 where it says so, else cp1252."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            end = b"\n" if b"\n" in data else b"\r"
            notes.append((first_line + data.count(end, 0, error.start), "not_utf8"))
            text = data.decode("cp1252", "replace")
    return text if "\n" in text else text.replace("\r", "\n")


def separator_of(header: str) -> str:
    """What divides most."""
    return max(",;\t", key=header.count)


def read_csv_cells(text: str, first_line: int, separator: str) -> list[tuple[int, list[str]]]:
    """(line on which the row starts, its cells), the header among them; blank lines are left out."""
    rows: list[tuple[int, list[str]]] = []
    cells: list[str] = []
    cell = ""
    was_quoted = in_quotes = any_quoted = False
    line = start = first_line
    position = 0

    def end_row() -> None:
        if len(cells) > 1 or any_quoted or cells[0].strip() != "":
            rows.append((start, list(cells)))

    while position < len(text):
        char = text[position]
        if in_quotes:
            if char == '"' and text[position + 1 : position + 2] == '"':
                cell += '"'
                position += 1
            elif char == '"':
                in_quotes = False
            else:
                cell += char
                line += char == "\n"
        elif char == '"' and cell == "" and not was_quoted:
            in_quotes = was_quoted = any_quoted = True
        elif char == separator:
            cells.append(cell)
            cell, was_quoted = "", False
        elif char == "\n":
            cells.append(cell.removesuffix("\r"))
            end_row()
            cells, cell, was_quoted, any_quoted = [], "", False, False
            line += 1
            start = line
        else:
            cell += char
        position += 1
    if in_quotes:
        raise UnreadableError
    if cell != "" or cells or any_quoted:
        cells.append(cell.removesuffix("\r"))
        end_row()
    return rows


NEEDED = {
    "features": [("account_id",), ("user_id",), ("feature_id",), ("timestamp",)],
    "crm/companies": [("record id", "hs_object_id", "record id - company")],
    "crm/contacts": [("record id", "hs_object_id", "record id - contact")],
}


def read_csv(
    source: str,
    data: bytes,
    head: bytes | None,
    first_line: int,
    notes: list[tuple[int, str]],
) -> list[RawRecord]:
    """head: what holds the header, where the data does not."""
    text = csv_text(data, first_line, notes)
    top = text if head is None else csv_text(head, 1, [])
    mark = re.match(r"sep=(.)\r?\n", top, re.IGNORECASE | re.DOTALL)
    separator = mark.group(1) if mark else separator_of(top.split("\n")[0])
    rows = read_csv_cells(text, first_line, separator)
    heads = rows if head is None else read_csv_cells(top, 1, separator)
    if mark:
        heads.pop(0)
    if not heads:
        return []
    header = [cell.strip() for cell in (rows.pop(0) if head is None else heads[0])[1]]
    while header and header[-1] == "":
        header.pop()
    lower = [cell.lower() for cell in header]
    if not all(any(name in lower for name in names) for names in NEEDED[source]):
        raise UnreadableError
    records = []
    for line, cells in rows:
        if any(cell.strip() != "" for cell in cells[len(header) :]):
            records.append(RawRecord(line, 1, BAD_ROW))
            continue
        padded = cells[: len(header)] + [""] * (len(header) - len(cells))
        record = dict(zip(header, padded, strict=True))
        if source == "features":
            # the exact spelling first, then any other; an empty cell is as if not given
            exact = {name: cell for name, cell in record.items() if name in FEATURE_FIELDS}
            other = {name.lower(): cell for name, cell in reversed(record.items())}
            record = {name: cell for name, cell in (other | exact).items() if cell != ""}
        records.append(RawRecord(line, 1, record))
    return records


FEATURE_FIELDS = (
    "account_id", "user_id", "feature_id", "module_id", "product_id", "timestamp", "total", "event_id", "received_at",
)  # fmt: skip


def read_zip(source: str, data: bytes, notes: list[tuple[int, str]]) -> list[RawRecord]:
    try:
        records: list[RawRecord] = []
        first_line = 1
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in sorted(archive.namelist(), key=lambda n: n.encode()):
                if name.endswith(".csv"):
                    member = without_bom(archive.read(name))
                    records += read_csv(source, member, None, first_line, notes)
                    first_line += len(lines_of(member))
        return records
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UnreadableError from error


def read_whole(source: str, path: str, data: bytes, notes: list[tuple[int, str]]) -> list[RawRecord]:
    name = unpacked_name(path)
    if name.endswith(".zip"):
        return read_zip(source, data, notes)
    if name.endswith(".csv"):
        return read_csv(source, without_bom(data), None, 1, notes)
    return read_json(data)


def read_added(
    source: str, path: str, loaded: bytes, data: bytes, notes: list[tuple[int, str]]
) -> list[RawRecord]:
    added = data[len(loaded) :]
    first_line = loaded.count(b"\n") + 1
    if unpacked_name(path).endswith(".csv"):
        return read_csv(source, added, without_bom(loaded), first_line, notes)
    return read_json_lines(lines_of(added), first_line)[0]


def without_tail(path: str, content: bytes, loaded: bytes) -> tuple[bytes, RawRecord | None]:
    """The content without a last record that has no end, and that record."""
    name = unpacked_name(path)
    if not name.endswith(GROWING_NAMES) or content.endswith(b"\n") or is_blank(content):
        return content, None
    if not name.endswith(".csv"):
        if not loaded and begins_an_array_over_lines(content):
            return content, None
        first = loaded.count(b"\n")
        lines = content[len(loaded) :].split(b"\n")
        begins = [] if loaded else [without_bom(lines[0])]  # a file's, and the line's
        _, cut = read_json_lines([line.removesuffix(b"\r") for line in (begins + lines[len(begins) :])], 1)
        if cut is None:
            return content, None
        start = len(content) - len(b"\n".join(lines[cut:]))
        return content[:start], RawRecord(first + cut + 1, 1, BAD_JSON)
    start, quoted = 0, False
    for position, byte in enumerate(content):
        quoted ^= byte == ord('"')
        if byte == ord("\n") and not quoted:
            start = position + 1
    if start == 0 or is_blank(content[start:]):
        return content, None
    head = csv_text(without_bom(content), 1, [])
    mark = re.match(r"sep=(.)\r?\n", head, re.IGNORECASE | re.DOTALL)
    separator = mark.group(1) if mark else separator_of(head.split("\n")[0])
    try:
        header = read_csv_cells(head, 1, separator)[1 if mark else 0][1]
        if len(read_csv_cells(csv_text(content[start:], 1, []), 1, separator)[0][1]) >= len(header):
            return content, None
    except UnreadableError:  # a quote that is not closed
        return content, None
    return content[:start], RawRecord(content[:start].count(b"\n") + 1, 1, BAD_ROW)


def is_grown(source: str, path: str, older: RawFile, content: bytes) -> bool:
    """Whether a content is an older file grown: it begins with what was loaded from that, up to the end of a line."""
    if source != older.source or source.startswith("crm/") or older.error or older.withdrawn is not None:
        return False
    if not (
        unpacked_name(path).endswith(GROWING_NAMES) and unpacked_name(older.path).endswith(GROWING_NAMES)
    ):
        return False
    if not older.loaded:  # nothing but the beginning of a record
        return older.tail is not None and content.startswith(older.content)
    if not unpacked_name(path).endswith(".csv") and begins_an_array_over_lines(older.loaded):
        return False
    added = content[len(older.loaded) :]
    ends = older.loaded.endswith(b"\n") or added.startswith((b"\n", b"\r\n"))
    return content.startswith(older.loaded) and bool(added) and ends


def read_files(nights: Sequence[Night]) -> tuple[list[RawFile], set[int]]:
    """Every file that ever got a number, and the numbers of the CRM exports that are in force."""
    raw: dict[str, bytes] = {}
    files: list[RawFile] = []
    held: dict[str, RawFile] = {}  # path -> the file that it held when it was last there
    in_force: dict[str, RawFile] = {}  # path -> the CRM export that was last loaded from it
    replaced: set[int] = set()
    withdrawn = {seq: index for index, night in enumerate(nights) for seq in night.withdrawn}
    for index, night in enumerate(nights):
        # A withdrawn file that went and comes back is a new one.
        out = {f.file_seq for f in files if f.withdrawn is not None and f.withdrawn <= index and not f.at}
        raw.update(night.files)
        for path in night.removed:
            raw.pop(path, None)
        waiting = [file for file in files if file.tail is not None and not file.tail_is_rejected]
        here: dict[str, tuple[str, bytes, bool]] = {}
        for path in sorted(raw, key=lambda p: p.encode("utf-8", "surrogateescape")):
            source = source_of(path)
            if source is not None:
                here[path] = (source, *content_of(path, raw[path]))
        for file in files:
            file.at = {p for p in here if held.get(p) is file and here[p][1] == file.content}
        for path, (source, content, is_whole) in here.items():
            if held.get(path) is None or path not in held[path].at or held[path].file_seq in out:
                file = same_file([f for f in files if f.file_seq not in out], source, path, content)
                if file is None:
                    file = RawFile(
                        len(files) + 1,
                        source,
                        path,
                        hashlib.sha256(content).hexdigest(),
                        index,
                        night.at,
                        folder_date_of(path),
                        [],
                        content=content,
                        withdrawn=withdrawn.get(len(files) + 1),
                    )
                    read_new_file(files, file, held.get(path), is_whole)
                    files.append(file)
                file.at.add(path)
                held[path] = file
            if not held[path].error and held[path].withdrawn is None:
                before, in_force[path] = in_force.get(path), held[path]
                if before is not None and before is not held[path]:
                    replaced.add(before.file_seq)
        replaced -= {file.file_seq for file in files if file.at}
        for file in waiting:
            if file.tail is not None:  # the run after found it as it was
                file.tail_is_rejected = True
                file.records.append(file.tail)
    return files, {
        file.file_seq
        for file in files
        if file.source.startswith("crm/") and not file.error and file.file_seq not in replaced
    }


def same_file(files: list[RawFile], source: str, path: str, content: bytes) -> RawFile | None:
    """The file that a content at a path is, if it is none that is new."""
    day = folder_date_of(path)
    alike = [f for f in files if f.source == source and f.content == content]
    for file in alike:
        if day in {folder_date_of(at) for at in file.at}:
            return file
    moved = [file for file in alike if not file.at]
    for file in moved:
        if file.folder_date == day:
            return file
    if moved:
        return moved[0]
    for file in alike:
        if day is None or None in {folder_date_of(at) for at in file.at}:
            return file
    return None


def read_new_file(files: list[RawFile], file: RawFile, held: RawFile | None, is_whole: bool) -> None:
    """Read what is new of a file's content."""
    if file.withdrawn is not None:
        return
    if not is_whole:
        file.error = True
        return
    grown = [older for older in files if is_grown(file.source, file.path, older, file.content)]

    def rank(older: RawFile) -> tuple[int, bool, bool, bool, int]:
        days = {folder_date_of(at) for at in older.at} or {older.folder_date}
        at_path = older is held
        return len(older.loaded), at_path, older.path == file.path, file.folder_date in days, -older.file_seq

    base = max(grown, key=rank, default=None)
    before = base.loaded if base is not None else b""
    file.loaded, tail = without_tail(file.path, file.content, before)
    try:
        if before:
            file.records = read_added(file.source, file.path, before, file.loaded, file.notes)
        else:
            file.records = read_whole(file.source, file.path, file.loaded, file.notes)
    except UnreadableError:
        file.error, file.loaded = True, b""
        return
    file.tail = tail
    if base is not None and base.tail is not None:
        # It went on: what stood there was the beginning of a record.
        if base.tail_is_rejected:
            base.records.remove(base.tail)
        base.tail, base.tail_is_rejected = None, False


# ---------------------------------------------------------------------------------------------------------
# Records: loaded, duplicate or rejected


@dataclass
class Event:
    """An API call or an action."""

    order: Order
    night: int
    at: datetime
    company_id: str | None
    user_id: str | None
    token: str | None
    anonymous_id: str | None
    weight: int
    status: int | None
    blocked: bool
    took: timedelta | None = None  # to the response; these three: API calls only
    verb: str = ""
    route: str = ""


@dataclass
class Update:
    entity: str  # company / user / subscription
    id: str
    order: Order
    night: int
    at: datetime  # effective time
    token: str | None
    anonymous_id: str | None  # user updates only
    company_id: str | None  # user and subscription updates only
    domain: str | None  # company updates only
    campaign: dict[str, Json] | None
    metadata: dict[str, Json] | None
    status: str | None = None  # these three: subscription updates only
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None


@dataclass
class Feature:
    order: Order
    at: datetime
    account_id: str
    user_id: str
    product_id: str
    module_id: str
    feature_id: str
    total: int


@dataclass
class CrmRow:
    order: Order
    source: str
    record_id: str
    cells: dict[str, str]


@dataclass
class Loaded:
    settings: OracleSettings
    files: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    repairs: list[Row] = field(default_factory=list)
    calls: list[Event] = field(default_factory=list)
    actions: list[Event] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    crm: list[CrmRow] = field(default_factory=list)
    conflicts: list[Row] = field(default_factory=list)
    # what the first loaded one decides for ever
    call_keys: set[str] = field(default_factory=set)
    action_keys: set[str] = field(default_factory=set)
    event_ids: set[str] = field(default_factory=set)
    feature_slots: set[str] = field(default_factory=set)
    module_slots: set[str] = field(default_factory=set)
    originals: dict[tuple[str, str], set[str]] = field(default_factory=dict)  # (field, cut) -> as sent
    locks: dict[tuple[str, ...], dict[str, tuple[str, Order]]] = field(default_factory=dict)


class RejectError(Exception):
    pass


class DuplicateError(Exception):
    pass


@dataclass
class Place:
    """One record, where it lies and what is known of its arrival."""

    file: RawFile
    order: Order
    received_date: date | None
    received_moment: datetime | None

    def latest_allowed(self) -> datetime:
        """24 h after the end of the received date; unknown: after first seen."""
        try:
            if self.received_date is not None:
                return midnight(self.received_date) + timedelta(days=2)
            return self.file.first_seen + timedelta(days=1)
        except OverflowError:
            return datetime.max


def load(nights: Sequence[Night], settings: OracleSettings) -> Loaded:
    loaded = Loaded(settings)
    files, crm_in_force = read_files(nights)
    for file in files:
        counts = {"loaded": 0, "duplicates": 0, "rejected": 0, "repaired": 0}
        floats: dict[str, Row] = {}
        for raw in file.records:
            place = {
                "source": file.source,
                "file_seq": file.file_seq,
                "line": raw.line,
                "element": raw.element,
            }
            repairs: list[str] = []
            try:
                load_record(loaded, file, raw, repairs)
                counts["loaded"] += 1
            except DuplicateError:
                counts["duplicates"] += 1
            except RejectError as reject:
                counts["rejected"] += 1
                loaded.rejects.append({**place, "reason": str(reject)})
                if str(reject) != "metadata_conflict":
                    continue
                # Refused for its metadata, after its file was read: what is said of the file stands.
                repairs = [what for what in repairs if what.startswith(WHOLE_FLOAT)]
            for what in [what for what in repairs if what.startswith(WHOLE_FLOAT)]:
                repairs.remove(what)
                floats.setdefault(what, {**place, "what": WHOLE_FLOAT})
            loaded.repairs += [{**place, "what": what} for what in repairs]
        # what is listed once a file
        once = list(floats.values())
        if not file.error:
            here = {"source": file.source, "file_seq": file.file_seq, "element": 1}
            once += [{**here, "line": line, "what": what} for line, what in file.notes]
        loaded.repairs += once
        places = {(row["line"], row["element"]) for row in loaded.repairs if row["file_seq"] == file.file_seq}
        counts["repaired"] = len(places)
        loaded.files.append(
            {
                "file_seq": file.file_seq,
                "source": file.source,
                "path": file.path,
                "sha256": file.sha256,
                "records": len(file.records),
                **counts,
                "error": file.error,
            }
        )
    loaded.crm = [row for row in loaded.crm if row.order[0] in crm_in_force]
    return loaded


WHOLE_FLOAT = "whole_float"


def note_floats(record: dict[str, Json], repairs: list[str], *fields: str) -> None:
    repairs += [f"{WHOLE_FLOAT} {field}" for field in fields if is_whole_float(record.get(field))]


def load_record(loaded: Loaded, file: RawFile, raw: RawRecord, repairs: list[str]) -> None:
    if raw.value is BAD_JSON:
        raise RejectError("bad_json")
    if raw.value is BAD_ROW:
        raise RejectError("bad_csv_row")
    if not isinstance(raw.value, dict):
        raise RejectError("not_object")
    changes: set[str] = set()
    record = clean(raw.value, changes)
    repairs += sorted(changes)
    order = (file.file_seq, raw.line, raw.element)

    received_at = time_of(record.get("received_at"))
    if received_at is not None:
        place = Place(file, order, received_at.date(), received_at)
    elif file.folder_date is not None:
        place = Place(file, order, file.folder_date, midnight(file.folder_date))
    else:
        place = Place(file, order, None, None)

    if file.source == "events":
        load_call(loaded, place, record, repairs)
    elif file.source == "actions":
        load_action(loaded, place, record, repairs)
    elif file.source == "companies":
        load_update(loaded, place, record, repairs, "company")
    elif file.source == "users":
        load_update(loaded, place, record, repairs, "user")
    elif file.source == "subscriptions":
        load_update(loaded, place, record, repairs, "subscription")
    elif file.source == "features":
        load_feature(loaded, place, record, repairs, total_is_finite=raw.value.get("total") is not NON_FINITE)
    else:
        load_crm_row(loaded, place, record)


# API calls and actions


EVENT_IDS = ("transaction_id", "company_id", "user_id", "session_token", "anonymous_id")


def dedupe_key(record: dict[str, Json]) -> str | None:
    key = id_of(record.get("transaction_id"))
    if key is not None:
        return key
    request = record.get("request")
    headers = request.get("headers") if isinstance(request, dict) else None
    if not isinstance(headers, dict):
        return None
    name = "x-moesif-transaction-id"
    if name in headers:
        return id_of(headers[name])
    others = [value for header, value in headers.items() if header.lower() == name]
    return id_of(others[-1]) if others else None


def load_call(loaded: Loaded, place: Place, record: dict[str, Json], repairs: list[str]) -> None:
    request = record.get("request")
    at = time_of(request.get("time")) if isinstance(request, dict) else None
    if at is None:
        raise RejectError("bad_time")
    if at > place.latest_allowed():
        raise RejectError("future")

    weight = record.get("weight")
    if is_whole_float(weight) and weight > 0:
        note_floats(record, repairs, "weight")
        weight = int(weight)
    if isinstance(weight, bool) or not isinstance(weight, int) or weight <= 0:
        weight = 1
    if weight > BIGGEST_INTEGER_IN_JSON:
        weight = BIGGEST_INTEGER_IN_JSON
        repairs.append("weight_clamped")

    response = record.get("response")
    status = response.get("status") if isinstance(response, dict) else None
    if is_whole_float(status) and abs(status) < 2**31:
        repairs.append(f"{WHOLE_FLOAT} status")
        status = int(status)
    if isinstance(status, bool) or not isinstance(status, int) or not -(2**31) <= status < 2**31:
        status = None

    blocked_by = record.get("blocked_by")
    blocked = not (blocked_by is None or blocked_by is False)
    if isinstance(blocked_by, str) and blocked_by.strip() == "":
        blocked = False

    note_floats(record, repairs, *EVENT_IDS)
    key = dedupe_key(record)
    if key is not None:
        if key in loaded.call_keys:
            raise DuplicateError
        loaded.call_keys.add(key)
    call = event_of(place, record, at, weight, status, blocked)
    answered = time_of(response.get("time")) if isinstance(response, dict) else None
    if answered is not None and at <= answered <= at + timedelta(days=1):
        call.took = answered - at
    assert isinstance(request, dict)
    verb, uri = request.get("verb"), request.get("uri")
    call.verb = verb if isinstance(verb, str) else ""
    call.route = route_of(uri) if isinstance(uri, str) else ""
    loaded.calls.append(call)


def route_of(uri: str) -> str:
    """The path of an address, with ids folded."""
    path = re.split("[?#]", uri)[0]
    scheme, colon, rest = path.partition(":")
    if colon and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        path = rest
    if path.startswith("//"):
        path = path[2:].partition("/")[1] + path[2:].partition("/")[2]
    first, *segments = path.split("/")

    def is_id(segment: str) -> bool:
        hexadecimal = set(segment) <= set("0123456789abcdefABCDEF-")
        return segment.isdecimal() or (hexadecimal and any(c.isdecimal() for c in segment[:-7]))

    return "/".join([first, *(":id" if is_id(segment) else segment for segment in segments)])


def load_action(loaded: Loaded, place: Place, record: dict[str, Json], repairs: list[str]) -> None:
    request = record.get("request")
    sent = request.get("time") if isinstance(request, dict) else None
    at = time_of(sent) if sent is not None else place.received_moment or place.file.first_seen
    if at is None:
        raise RejectError("bad_time")
    if at > place.latest_allowed():
        raise RejectError("future")
    note_floats(record, repairs, *EVENT_IDS)
    key = dedupe_key(record)
    if key is not None:
        if key in loaded.action_keys:
            raise DuplicateError
        loaded.action_keys.add(key)
    loaded.actions.append(event_of(place, record, at, 1, None, False))


def event_of(
    place: Place, record: dict[str, Json], at: datetime, weight: int, status: int | None, blocked: bool
) -> Event:
    return Event(
        order=place.order,
        night=place.file.night,
        at=at,
        company_id=id_of(record.get("company_id")),
        user_id=id_of(record.get("user_id")),
        token=id_of(record.get("session_token")),
        anonymous_id=id_of(record.get("anonymous_id")),
        weight=weight,
        status=status,
        blocked=blocked,
    )


# Update calls and their metadata


def load_update(
    loaded: Loaded, place: Place, record: dict[str, Json], repairs: list[str], entity: str
) -> None:
    own_id = id_of(record.get(f"{entity}_id"))
    if own_id is None:
        raise RejectError("missing_id")

    note_floats(record, repairs, "company_id", "user_id", "session_token", "anonymous_id")
    at = time_of(record.get("modified_time"))
    if at is None and record.get("modified_time") is not None:
        repairs.append("modified_time_bad")
    if at is not None and at > place.latest_allowed():
        at = None
        repairs.append("modified_time_future")
    if at is None:
        at = place.received_moment or place.file.first_seen

    campaign = record.get("campaign")
    if campaign is not None and not isinstance(campaign, dict):
        campaign = None
        repairs.append("campaign_not_object")
    campaign = None if campaign is None else given_of(campaign)

    metadata = record.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        metadata = None
        repairs.append("metadata_not_object")
    if metadata is not None:
        metadata = check_types(loaded, place, entity, own_id, without_dots(metadata, repairs))

    status = record.get("status")
    periods = {name: time_of(record.get(name)) for name in ("current_period_start", "current_period_end")}
    if entity == "subscription":
        if status is not None and not isinstance(status, str):
            repairs.append("status_not_text")
        repairs += [
            f"{name}_bad" for name, at_ in periods.items() if at_ is None and record.get(name) is not None
        ]

    domain = record.get("company_domain")
    loaded.updates.append(
        Update(
            entity=entity,
            id=own_id,
            order=place.order,
            night=place.file.night,
            at=at,
            token=id_of(record.get("session_token")),
            anonymous_id=id_of(record.get("anonymous_id")) if entity == "user" else None,
            company_id=id_of(record.get("company_id")) if entity != "company" else None,
            domain=domain if isinstance(domain, str) and domain.strip() != "" else None,
            campaign=campaign,
            metadata=metadata,
            status=status if isinstance(status, str) and status.strip() != "" else None,
            **periods,
        )
    )


def without_dots(value: Json, repairs: list[str]) -> Json:
    """Dots in keys become underscores; of two keys that become one the last in the document wins."""
    if isinstance(value, list):
        return [without_dots(one, repairs) for one in value]
    if not isinstance(value, dict):
        return value
    renamed: dict[str, Json] = {}
    for key, inner in value.items():
        name = key.replace(".", "_")
        if name in renamed:
            del renamed[name]  # the other was never there
            repairs.append("key_collision")
        renamed[name] = inner
    return {name: without_dots(inner, repairs) for name, inner in renamed.items()}


def is_empty(value: Json) -> bool:
    return value in ({}, [])


def check_types(
    loaded: Loaded, place: Place, entity: str, own_id: str, metadata: dict[str, Json]
) -> dict[str, Json]:
    """The metadata without the values whose type is not the one their key is locked to."""
    settings = loaded.settings
    pins = {key.replace(".", "_"): kind for key, kind in settings.pins.items()}
    scope = (entity, own_id) if settings.lock_scope == "entity" else ()
    locks = dict(loaded.locks.get(scope, {}))
    conflicts: list[Row] = []

    def walk_object(value: dict[str, Json], path: str) -> dict[str, Json]:
        kept: dict[str, Json] = {}
        for key, inner in value.items():
            inner_path = f"{path}.{key}" if path else key
            if inner is None:
                kept[key] = None
                continue
            actual = type_of(inner)
            expected_type = pins.get(key) or (locks[key][0] if key in locks else None)
            if is_empty(inner) and expected_type in (None, "object", "array"):
                kept[key] = inner  # locks nothing; read as the key's type when it is merged
                continue
            expected_type = expected_type or actual
            if actual != expected_type:
                conflicts.append(
                    {
                        "entity": entity,
                        "entity_id": own_id,
                        "key": key,
                        "path": inner_path,
                        "expected_type": expected_type,
                        "actual_type": actual,
                        "value": json_text(inner),
                        "file_seq": place.order[0],
                        "line": place.order[1],
                    }
                )
                continue
            locks.setdefault(key, (actual, place.order))
            kept[key] = walk(inner, inner_path)
        return kept

    def walk(value: Json, path: str) -> Json:
        if isinstance(value, dict):
            return walk_object(value, path)
        if isinstance(value, list):
            return [walk(one, f"{path}[{n}]") for n, one in enumerate(value)]
        return value

    kept = walk_object(metadata, "")
    loaded.conflicts += conflicts
    if conflicts and settings.on_conflict == "reject_update":
        raise RejectError("metadata_conflict")
    loaded.locks[scope] = locks
    return kept


# Features


def total_of(value: Json, finite: bool) -> int | None:
    """None: bad_total."""
    if not finite or isinstance(value, bool):
        return None
    if value is None:
        return 1
    if isinstance(value, str):
        value = re.sub("[.]0+$", "", value)
        if re.fullmatch("[0-9]+", value) is None or len(value.lstrip("0")) > 16:
            return None
        value = int(value)
    if is_whole_float(value):
        value = int(value)
    if isinstance(value, int) and 0 <= value <= BIGGEST_INTEGER_IN_JSON:
        return value
    return None


def load_feature(
    loaded: Loaded, place: Place, record: dict[str, Json], repairs: list[str], *, total_is_finite: bool
) -> None:
    names: dict[str, str | None] = {}
    originals: dict[str, str] = {}
    for name in ("feature_id", "module_id", "product_id"):
        original = id_of(record.get(name))
        names[name] = id_of(original[:64]) if original is not None else None
        if original is not None and names[name] is not None:
            originals[name] = original

    account_id = id_of(record.get("account_id"))
    user_id = id_of(record.get("user_id"))
    feature_id = names["feature_id"]
    if account_id is None or user_id is None or feature_id is None:
        raise RejectError("missing_id")
    at = time_of(record.get("timestamp"))
    if at is None:
        raise RejectError("bad_time")
    total = total_of(record.get("total"), total_is_finite)
    if total is None:
        raise RejectError("bad_total")
    note_floats(
        record, repairs, "account_id", "user_id", "feature_id", "module_id", "product_id", "event_id", "total"
    )
    if total == 0:
        note_names(loaded, names, originals, repairs)
        return

    if place.received_date is not None:
        if at.date() > place.received_date:
            raise RejectError("future")
        if at.date() < place.received_date and not loaded.settings.accept_backdated:
            raise RejectError("backdated")
    elif at > place.latest_allowed():
        raise RejectError("future")

    event_id = id_of(record.get("event_id"))
    if event_id is not None and event_id in loaded.event_ids:
        note_names(loaded, names, originals, repairs)
        raise DuplicateError

    module_id = names["module_id"] or ""
    new_module = module_id != "" and module_id not in loaded.module_slots
    new_feature = feature_id not in loaded.feature_slots
    if new_module and len(loaded.module_slots) >= loaded.settings.module_limit:
        raise RejectError("module_limit")
    if new_feature and len(loaded.feature_slots) >= loaded.settings.feature_limit:
        raise RejectError("feature_limit")
    if new_module:
        loaded.module_slots.add(module_id)
    loaded.feature_slots.add(feature_id)
    if event_id is not None:
        loaded.event_ids.add(event_id)
    note_names(loaded, names, originals, repairs)
    loaded.features.append(
        Feature(place.order, at, account_id, user_id, names["product_id"] or "", module_id, feature_id, total)
    )


def note_names(
    loaded: Loaded, names: dict[str, str | None], originals: dict[str, str], repairs: list[str]
) -> None:
    """Only records that are not rejected come here."""
    for name, original in originals.items():
        if len(original) > 64:
            repairs.append("name_cut")
        seen = loaded.originals.setdefault((name, names[name] or ""), set())
        if seen and original not in seen:
            repairs.append("names_merged")
        seen.add(original)


# CRM exports


def crm_cell(cells: dict[str, str], *headers: str) -> str | None:
    """The first that is not blank; of each header the column that is spelled so, else the first in another case."""
    for header in headers:
        found = (
            [cells[header]]
            if header in cells
            else [c for h, c in cells.items() if h.lower() == header.lower()]
        )
        if found and found[0].strip() != "":
            return found[0]
    return None


def load_crm_row(loaded: Loaded, place: Place, record: dict[str, str]) -> None:
    entity = {"crm/companies": "Company", "crm/contacts": "Contact"}[place.file.source]
    found = crm_cell(record, "Record ID", "hs_object_id", f"Record ID - {entity}")
    match = re.fullmatch(r'="([0-9]+)"|([0-9]+)([.]0+)?', (found or "").strip())
    if match is None:
        raise RejectError("bad_crm_row")
    record_id = match.group(1) or match.group(2)
    loaded.crm.append(CrmRow(place.order, place.file.source, record_id, record))


# ---------------------------------------------------------------------------------------------------------
# Attribution


@dataclass(frozen=True)
class Claim:
    day: date
    order: Order
    at: datetime
    claimant: str


class Claims:
    """All claims of one kind: who claims this token (or this user), on which day."""

    def __init__(self) -> None:
        self.of: dict[str, list[Claim]] = {}

    def add(self, key: str, update: Update, claimant: str) -> None:
        self.of.setdefault(key, []).append(Claim(update.at.date(), update.order, update.at, claimant))

    def on(self, key: str | None, day: date) -> str | None:
        if key is None or key not in self.of:
            return None
        claims = sorted(self.of[key], key=lambda claim: (claim.day, claim.order))
        made = [claim for claim in claims if claim.day <= day]
        return made[-1].claimant if made else claims[0].claimant

    def last(self, key: str) -> str | None:
        return self.on(key, date.max)


@dataclass
class AllClaims:
    company_of_token: Claims
    user_of_token: Claims
    company_of_user: Claims
    user_of_anonymous_id: Claims


def claims_of(updates: Iterable[Update]) -> AllClaims:
    claims = AllClaims(Claims(), Claims(), Claims(), Claims())
    for update in updates:
        if update.entity == "company":
            if update.token is not None:
                claims.company_of_token.add(update.token, update, update.id)
        elif update.entity == "user":
            if update.token is not None:
                claims.user_of_token.add(update.token, update, update.id)
            if update.company_id is not None:
                claims.company_of_user.add(update.id, update, update.company_id)
            if update.anonymous_id is not None:
                claims.user_of_anonymous_id.add(update.anonymous_id, update, update.id)
    return claims


def company_of(event: Event, claims: AllClaims) -> tuple[str | None, str]:
    """(company, attributed_via)"""
    day = event.at.date()
    if event.company_id is not None:
        return event.company_id, "event"
    company = claims.company_of_token.on(event.token, day)
    if company is not None:
        return company, "token"
    company = claims.company_of_user.on(claims.user_of_token.on(event.token, day), day)
    if company is not None:
        return company, "token_user"
    company = claims.company_of_user.on(event.user_id, day)
    if company is not None:
        return company, "user"
    company = claims.company_of_user.on(claims.user_of_anonymous_id.on(event.anonymous_id, day), day)
    if company is not None:
        return company, "anonymous"
    return None, "none"


def user_of(event: Event, claims: AllClaims) -> str | None:
    day = event.at.date()
    return (
        event.user_id
        or claims.user_of_token.on(event.token, day)
        or claims.user_of_anonymous_id.on(event.anonymous_id, day)
    )


# ---------------------------------------------------------------------------------------------------------
# Metadata, merged


@dataclass
class Merged:
    value: dict[str, Json] | None = None  # None: no update ever gave an object
    written: dict[tuple[str, ...], datetime] = field(default_factory=dict)  # leaf -> time of its last writer


def given_of(campaign: dict[str, Json]) -> dict[str, Json]:
    given = {}
    for key, value in campaign.items():
        if value is not None:
            given[key] = given_of(value) if isinstance(value, dict) else value
    return given


def with_empties_as_locked(value: Json, types: Mapping[str, str]) -> Json:
    """`{}` and `[]` stand for each other: they are read with the type that their key has in the end."""
    if isinstance(value, list):
        return [with_empties_as_locked(one, types) for one in value]
    if not isinstance(value, dict):
        return value
    read: dict[str, Json] = {}
    for key, inner in value.items():
        if is_empty(inner) and types.get(key) == "object":
            read[key] = {}
        elif is_empty(inner) and types.get(key) == "array":
            read[key] = []
        else:
            read[key] = with_empties_as_locked(inner, types)
    return read


def types_for(loaded: Loaded, entity: str, own_id: str) -> dict[str, str]:
    scope = (entity, own_id) if loaded.settings.lock_scope == "entity" else ()
    types = {key: kind for key, (kind, _) in loaded.locks.get(scope, {}).items()}
    return types | {key.replace(".", "_"): kind for key, kind in loaded.settings.pins.items()}


def merged_metadata(loaded: Loaded, updates: list[Update]) -> Merged:
    types = types_for(loaded, updates[0].entity, updates[0].id) if updates else {}
    return merge_all(updates, "metadata", types)


def merge_all(updates: Iterable[Update], attribute: str, types: Mapping[str, str] | None = None) -> Merged:
    merged = Merged()
    for update in sorted(updates, key=lambda u: (u.at, u.order)):
        value = with_empties_as_locked(getattr(update, attribute), types or {})
        if value is not None:
            if merged.value is None:
                merged.value = {}
            merge_into(merged.value, value, (), update.at, merged.written)
    return merged


def merge_into(
    target: dict[str, Json],
    value: dict[str, Json],
    path: tuple[str, ...],
    at: datetime,
    written: dict[tuple[str, ...], datetime],
) -> None:
    for key, inner in value.items():
        here = (*path, key)
        if isinstance(inner, dict) and isinstance(target.get(key), dict):
            if inner:
                written.pop(here, None)
            elif not target[key]:
                written[here] = at
            merge_into(target[key], inner, here, at, written)
        else:
            for leaf in [leaf for leaf in written if leaf[: len(here)] == here]:
                del written[leaf]
            target[key] = copy.deepcopy(inner)
            for leaf, _ in leaves(inner, here):
                written[leaf] = at


def leaves(value: Json, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Json]]:
    if value is None:
        return []
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    return [(path, value)]


def metadata_rows(entity: str, own_id: str, metadata: dict[str, Json] | None) -> list[Row]:
    rows = []
    for path, value in leaves(metadata, ()):
        if path == ():  # `{}` itself, with nothing in it
            continue
        rows.append(
            {
                f"{entity}_id": own_id,
                "path": ".".join(path),
                "type": type_of(value),
                "value": value if isinstance(value, str) else json_text(value),
                "value_number": float(value) if type_of(value) == "number" else None,
            }
        )
    return rows


def schema_rows(loaded: Loaded) -> list[Row]:
    pins = {key.replace(".", "_"): kind for key, kind in loaded.settings.pins.items()}
    first: dict[str, tuple[str, Order]] = {}
    for locks in loaded.locks.values():
        for key, (kind, order) in locks.items():
            if key not in first or order < first[key][1]:
                first[key] = (kind, order)
    rows = []
    for key in sorted(set(first) | set(pins)):
        rows.append(
            {
                "key": key,
                "type": pins[key] if key in pins else first[key][0],
                "pinned": key in pins,
                "first_file_seq": first[key][1][0] if key in first else None,
                "first_line": first[key][1][1] if key in first else None,
            }
        )
    return rows


# ---------------------------------------------------------------------------------------------------------
# The tables


def in_window(day: date, as_of: date, days: int) -> bool:
    return as_of - timedelta(days=days) < day <= as_of


def call_counts(calls: list[Event]) -> Row:
    return {
        "events": len(calls),
        "calls": saturated(c.weight for c in calls),
        "errors_4xx": saturated(c.weight for c in calls if c.status is not None and 400 <= c.status <= 499),
        "errors_5xx": saturated(c.weight for c in calls if c.status is not None and 500 <= c.status <= 599),
        "blocked_calls": saturated(c.weight for c in calls if c.blocked),
        "session_tokens": len({c.token for c in calls if c.token is not None}),
    }


def profile_counts(
    calls: list[Event],
    actions: list[Event],
    features: list[Feature],
    updates_naming_it: list[Update],
    as_of: date,
) -> Row:
    seen = [e.at for e in calls] + [e.at for e in actions] + [f.at for f in features]
    created_at = min(seen + [u.at for u in updates_naming_it])
    successes = [c.at for c in calls if c.status is not None and 200 <= c.status <= 299]
    features_30d = [f for f in features if in_window(f.at.date(), as_of, 30)]

    def calls_within(days: int, until: date = as_of) -> int:
        return saturated(c.weight for c in calls if in_window(c.at.date(), until, days))

    calls_prev_30d = calls_within(30, as_of - timedelta(days=30))
    days = sorted({at.date() for at in seen})
    ages = [(as_of - day).days for day in days if day <= as_of]

    return {
        "created_at": created_at,
        "first_seen_at": min(seen, default=None),
        "last_seen_at": max(seen, default=None),
        **call_counts(calls),
        "calls_24h": calls_within(1),
        "calls_7d": calls_within(7),
        "calls_30d": calls_within(30),
        "calls_prev_7d": calls_within(7, as_of - timedelta(days=7)),
        "calls_prev_30d": calls_prev_30d,
        "calls_trend_30d": float(calls_within(30)) / float(calls_prev_30d) - 1
        if calls_prev_30d > 0
        else None,
        "active_days_30d": len({at.date() for at in seen if in_window(at.date(), as_of, 30)}),
        "first_active_day": days[0] if days else None,
        "last_active_day": days[-1] if days else None,
        "days_since_last_seen": min(ages, default=None),
        "feature_total_30d": saturated(f.total for f in features_30d),
        "features_used_30d": len({f.feature_id for f in features_30d}),
        "first_call_seconds": (min(successes) - created_at).total_seconds() if successes else None,
    }


def crm_by_key(loaded: Loaded, source: str) -> dict[str, CrmRow]:
    """Match key -> the one CRM row that has it."""
    standing: dict[str, CrmRow] = {}
    for row in sorted(loaded.crm, key=lambda r: r.order):
        if row.source == source:
            standing[row.record_id] = row
    by_key: dict[str, list[CrmRow]] = {}
    for row in standing.values():
        if source == "crm/companies":
            key = domain_key(crm_cell(row.cells, "Company Domain Name", "domain"))
        else:
            key = email_key(crm_cell(row.cells, "Email", "email"))
        if key is not None:
            by_key.setdefault(key, []).append(row)
    return {key: rows[0] for key, rows in by_key.items() if len(rows) == 1}


def phone_of(metadata: dict[str, Json] | None) -> str | None:
    """A phone number that was sent as a JSON integer is one all the same."""
    phone = (metadata or {}).get("phone")
    return (
        str(phone) if isinstance(phone, int) and not isinstance(phone, bool) else text_at(metadata, "phone")
    )


def text_at(metadata: dict[str, Json] | None, key: str) -> str | None:
    value = (metadata or {}).get(key)
    return value if isinstance(value, str) else None


def company_domain_of(updates: list[Update], metadata: dict[str, Json] | None) -> str | None:
    given = [u for u in sorted(updates, key=lambda u: (u.at, u.order)) if u.domain is not None]
    if given:
        return domain_key(given[-1].domain)
    return domain_key(text_at(metadata, "company_domain"))


def alias_rows(id_column: str, claims: Claims, calls: list[tuple[Event, str | None]]) -> list[Row]:
    pairs = {(token, claim.claimant) for token, made in claims.of.items() for claim in made}
    pairs |= {(c.token, owner) for c, owner in calls if c.token is not None and owner is not None}
    rows = []
    for token, owner in sorted(pairs):
        made = [claim for claim in claims.of.get(token, []) if claim.claimant == owner]
        carried = [c for c, attributed in calls if c.token == token and attributed == owner]
        rows.append(
            {
                "session_token": token,
                id_column: owner,
                "claimed_at": min((claim.at for claim in made), default=None),
                "claims": len(made),
                "first_seen_at": min((c.at for c in carried), default=None),
                "last_seen_at": max((c.at for c in carried), default=None),
                "events": len(carried),
                "calls": saturated(c.weight for c in carried),
            }
        )
    return rows


def feature_rows(features: list[Feature]) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Feature]] = {}
    for f in features:
        key = (f.at.date(), f.account_id, f.user_id, f.product_id, f.module_id, f.feature_id)
        groups.setdefault(key, []).append(f)
    columns = ("day", "account_id", "user_id", "product_id", "module_id", "feature_id")
    return [
        {
            **dict(zip(columns, key, strict=True)),
            "total": saturated(f.total for f in group),
            "events": len(group),
        }
        for key, group in sorted(groups.items())
    ]


def expected(
    nights: Sequence[Night], as_of: date, settings: OracleSettings = DEFAULTS
) -> dict[str, list[Row]]:
    """Every table of the contract's section 3 after all nights, as rows."""
    loaded = load(nights, settings)
    claims = claims_of(loaded.updates)
    calls = [(c, company_of(c, claims)[0], user_of(c, claims)) for c in loaded.calls]
    actions = [(a, company_of(a, claims)[0], user_of(a, claims)) for a in loaded.actions]
    company_crm = crm_by_key(loaded, "crm/companies")
    contact_crm = crm_by_key(loaded, "crm/contacts")
    tables: dict[str, list[Row]] = {}

    # companies
    companies = {company for _, company, _ in calls + actions if company is not None}
    companies |= {f.account_id for f in loaded.features}
    companies |= {u.id for u in loaded.updates if u.entity == "company"}
    companies |= {u.company_id for u in loaded.updates if u.company_id is not None}
    tables["marts.company_profiles"] = []
    tables["marts.company_metadata"] = []
    for company_id in sorted(companies):
        own = [u for u in loaded.updates if u.entity == "company" and u.id == company_id]
        naming = own + [u for u in loaded.updates if u.company_id == company_id]
        metadata = merged_metadata(loaded, own).value
        domain = company_domain_of(own, metadata)
        crm = company_crm.get(domain) if domain is not None else None
        name = text_at(metadata, "name")
        if name is None:
            name = text_at(metadata, "company_name")
        if name is None and crm is not None:
            name = crm_cell(crm.cells, "Company name", "name")
        tables["marts.company_profiles"].append(
            {
                "company_id": company_id,
                "company_domain": domain,
                "company_name": name,
                **profile_counts(
                    [c for c, company, _ in calls if company == company_id],
                    [a for a, company, _ in actions if company == company_id],
                    [f for f in loaded.features if f.account_id == company_id],
                    naming,
                    as_of,
                ),
                "users": len({u for _, company, u in calls if company == company_id and u is not None}),
                "metadata": metadata,
                "campaign": merge_all(own, "campaign").value or None,
                "crm": crm.cells if crm is not None else None,
                "hubspot_id": crm.record_id if crm is not None else None,
            }
        )
        tables["marts.company_metadata"] += metadata_rows("company", company_id, metadata)

    # users
    users = {user for _, _, user in calls + actions if user is not None}
    users |= {f.user_id for f in loaded.features}
    users |= {u.id for u in loaded.updates if u.entity == "user"}
    known_companies = tables["marts.company_profiles"]
    tables["marts.user_profiles"] = []
    tables["marts.user_metadata"] = []
    for user_id in sorted(users):
        own = [u for u in loaded.updates if u.entity == "user" and u.id == user_id]
        metadata = merged_metadata(loaded, own).value
        email = email_key(text_at(metadata, "email"))
        crm = contact_crm.get(email) if email is not None else None
        tables["marts.user_profiles"].append(
            {
                "user_id": user_id,
                "email": email,
                "name": text_at(metadata, "name"),
                "first_name": text_at(metadata, "first_name"),
                "last_name": text_at(metadata, "last_name"),
                "phone": phone_of(metadata),
                "photo_url": text_at(metadata, "photo_url"),
                "company_id": (company_id := claims.company_of_user.last(user_id)),
                **{
                    column: next((c[column] for c in known_companies if c["company_id"] == company_id), None)
                    for column in ("company_domain", "company_name")
                },
                **profile_counts(
                    [c for c, _, user in calls if user == user_id],
                    [a for a, _, user in actions if user == user_id],
                    [f for f in loaded.features if f.user_id == user_id],
                    own,
                    as_of,
                ),
                "metadata": metadata,
                "campaign": merge_all(own, "campaign").value or None,
                "crm": crm.cells if crm is not None else None,
                "hubspot_id": crm.record_id if crm is not None else None,
            }
        )
        tables["marts.user_metadata"] += metadata_rows("user", user_id, metadata)

    # subscriptions
    tables["marts.subscriptions"] = []
    for subscription_id in sorted({u.id for u in loaded.updates if u.entity == "subscription"}):
        own = [u for u in loaded.updates if u.entity == "subscription" and u.id == subscription_id]
        own.sort(key=lambda u: (u.at, u.order))
        row: Row = {"subscription_id": subscription_id}
        for column in ("company_id", "status", "current_period_start", "current_period_end"):
            given = [getattr(u, column) for u in own if getattr(u, column) is not None]
            row[column] = given[-1] if given else None
        tables["marts.subscriptions"].append({**row, "metadata": merged_metadata(loaded, own).value})

    # aliases
    tables["marts.company_aliases"] = alias_rows(
        "company_id", claims.company_of_token, [(c, company) for c, company, _ in calls]
    )
    tables["marts.user_aliases"] = alias_rows(
        "user_id", claims.user_of_token, [(c, user) for c, _, user in calls]
    )
    tables["marts.alias_conflicts"] = []
    for token, made in sorted(claims.company_of_token.of.items()):
        claimants = sorted({claim.claimant for claim in made})
        if len(claimants) > 1:
            tables["marts.alias_conflicts"].append({"session_token": token, "company_ids": claimants})

    # daily usage
    tables["marts.company_usage_daily"] = []
    for day, company in sorted({(c.at.date(), co) for c, co, _ in calls}, key=lambda g: (g[0], g[1] or "")):
        group = [(c, user) for c, co, user in calls if (c.at.date(), co) == (day, company)]
        tables["marts.company_usage_daily"].append(
            {
                "day": day,
                "company_id": company,
                **call_counts([c for c, _ in group]),
                "users": len({user for _, user in group if user is not None}),
                "first_at": min(c.at for c, _ in group),
                "last_at": max(c.at for c, _ in group),
            }
        )
    tables["marts.user_usage_daily"] = []
    for day, user in sorted({(c.at.date(), us) for c, _, us in calls}, key=lambda g: (g[0], g[1] or "")):
        own_calls = [c for c, _, us in calls if (c.at.date(), us) == (day, user)]
        tables["marts.user_usage_daily"].append(
            {
                "day": day,
                "user_id": user,
                **call_counts(own_calls),
                "first_at": min(c.at for c in own_calls),
                "last_at": max(c.at for c in own_calls),
            }
        )

    tables["marts.daily_feature_totals"] = feature_rows(loaded.features)
    tables["marts.metadata_schema"] = schema_rows(loaded)
    tables["marts.metadata_conflicts"] = loaded.conflicts
    tables["ops.files"] = loaded.files
    tables["ops.rejects"] = loaded.rejects
    tables["ops.repairs"] = loaded.repairs
    return tables


def leaf_times(
    nights: Sequence[Night], settings: OracleSettings = DEFAULTS
) -> dict[tuple[str, str, str], datetime]:
    """(entity, id, path) -> `updated_at` of that row in marts.company_metadata / marts.user_metadata."""
    loaded = load(nights, settings)
    times = {}
    for entity, own_id in {(u.entity, u.id) for u in loaded.updates if u.entity != "subscription"}:
        own = [u for u in loaded.updates if (u.entity, u.id) == (entity, own_id)]
        for path, at in merged_metadata(loaded, own).written.items():
            times[entity, own_id, ".".join(path)] = at
    return times


def latencies(
    nights: Sequence[Night], settings: OracleSettings = DEFAULTS
) -> dict[tuple[date, str | None], tuple[int, int, dict[int, float | None]]]:
    """(day, company) -> calls of which it is known how long they took, calls of which it is not, and their exact
    percentiles in milliseconds (the warehouse's may be 5 % off)."""
    loaded = load(nights, settings)
    claims = claims_of(loaded.updates)
    groups: dict[tuple[date, str | None], list[Event]] = {}
    for call in loaded.calls:
        groups.setdefault((call.at.date(), company_of(call, claims)[0]), []).append(call)
    found = {}
    for key, calls in groups.items():
        timed = saturated(c.weight for c in calls if c.took is not None)
        all_ = saturated(c.weight for c in calls)
        found[key] = timed, all_ - timed, {p: percentile(calls, p) for p in (50, 90, 99)}
    return found


def latency_p90_ms_7d(
    nights: Sequence[Night], as_of: date, settings: OracleSettings = DEFAULTS
) -> dict[str, float | None]:
    """company -> what nine of ten of its calls of the last 7 days took at most, exactly."""
    loaded = load(nights, settings)
    claims = claims_of(loaded.updates)
    groups: dict[str, list[Event]] = {}
    for call in loaded.calls:
        company = company_of(call, claims)[0]
        if company is not None and in_window(call.at.date(), as_of, 7):
            groups.setdefault(company, []).append(call)
    return {company: percentile(calls, 90) for company, calls in groups.items()}


def endpoint_usage(
    nights: Sequence[Night], settings: OracleSettings
) -> dict[tuple[date, str | None, str, str], tuple[int, int, float | None]]:
    """(day, company, verb, route) -> calls, errors, and the exact p90 in milliseconds."""
    if settings.routes != "all":
        return {}
    loaded = load(nights, settings)
    claims = claims_of(loaded.updates)
    groups: dict[tuple[date, str | None], dict[tuple[str, str], list[Event]]] = {}
    for call in loaded.calls:
        endpoints = groups.setdefault((call.at.date(), company_of(call, claims)[0]), {})
        endpoints.setdefault((call.verb, call.route), []).append(call)
    found = {}
    for key, endpoints in groups.items():
        order = sorted(endpoints, key=lambda e: (-saturated(c.weight for c in endpoints[e]), e[1], e[0]))
        others = [call for endpoint in order[200:] for call in endpoints[endpoint]]
        told = {endpoint: endpoints[endpoint] for endpoint in order[:200]}
        if others:
            told["", "(other)"] = others
        for endpoint, calls in told.items():
            failed = (c.weight for c in calls if c.status is not None and 400 <= c.status <= 599)
            calls_and_errors = saturated(c.weight for c in calls), saturated(failed)
            found[(*key, *endpoint)] = (*calls_and_errors, percentile(calls, 90))
    return found


def percentile(calls: Sequence[Event], percent: int) -> float | None:
    """The shortest time within which so many of a hundred calls were answered; a call counts with its weight."""
    took = sorted((c.took, c.weight) for c in calls if c.took is not None)
    needed = sum(weight for _, weight in took) * percent
    answered = 0
    for time, weight in took:
        answered += weight
        if answered * 100 >= needed:
            return time / timedelta(milliseconds=1)
    return None


def attributed_via(
    nights: Sequence[Night], settings: OracleSettings = DEFAULTS
) -> dict[Order, tuple[str | None, str, str | None]]:
    """Place of each loaded API call -> (company, attributed_via, user)."""
    loaded = load(nights, settings)
    claims = claims_of(loaded.updates)
    return {c.order: (*company_of(c, claims), user_of(c, claims)) for c in loaded.calls}


def restatements(nights: Sequence[Night], settings: OracleSettings = DEFAULTS) -> list[Row]:
    """What each night's claims moved, of the API calls that earlier nights had loaded."""
    loaded = load(nights, settings)
    rows: list[Row] = []
    for night in range(1, len(nights)):
        before = claims_of(u for u in loaded.updates if u.night < night)
        after = claims_of(u for u in loaded.updates if u.night <= night)
        moved: dict[tuple[date, str | None, str | None], list[int]] = {}
        for call in loaded.calls:
            if call.night >= night:
                continue
            was, now = company_of(call, before)[0], company_of(call, after)[0]
            if was != now:
                moved.setdefault((call.at.date(), was, now), []).append(call.weight)
        for (day, was, now), weights in sorted(
            moved.items(), key=lambda m: (m[0][0], m[0][1] or "", m[0][2] or "")
        ):
            rows.append(
                {
                    "night": night,
                    "day": day,
                    "company_id_before": was,
                    "company_id_after": now,
                    "calls": saturated(weights),
                }
            )
    return rows


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def retention_weekly(nights: Sequence[Night], as_of: date, settings: OracleSettings = DEFAULTS) -> list[Row]:
    """Of the companies that were first active in a week, how many were in each week since."""
    loaded = load(nights, settings)
    claims = claims_of(loaded.updates)
    active = [(company_of(e, claims)[0], e.at.date()) for e in [*loaded.calls, *loaded.actions]]
    active += [(f.account_id, f.at.date()) for f in loaded.features]
    weeks: dict[str, set[date]] = {}
    for company, day in active:
        if company is not None and day <= as_of:
            weeks.setdefault(company, set()).add(monday(day))
    rows = []
    for first in {min(own) for own in weeks.values()}:
        cohort = [own for own in weeks.values() if min(own) == first]
        week, since = first, 0
        while week <= as_of:
            came = sum(week in own for own in cohort)
            rows.append(
                {
                    "first_week": first,
                    "weeks_since": since,
                    "companies": len(cohort),
                    "active_companies": came,
                    "share": came / len(cohort),
                    "is_over": week + timedelta(days=6) <= as_of,
                }
            )
            week, since = week + timedelta(days=7), since + 1
    return rows


def number_in(metadata: dict[str, Json] | None, key: str) -> float | None:
    found = (metadata or {}).get(key)
    if isinstance(found, str):
        try:
            return float(found)
        except ValueError:
            return None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def health(tables: Mapping[str, list[Row]], as_of: date) -> dict[str, float]:
    """company -> its score by sql/health/company.sql, from its profile and its days, as `expected` has them."""
    scores = {}
    for profile in tables["marts.company_profiles"]:
        company = profile["company_id"]
        month = [
            day
            for day in tables["marts.company_usage_daily"]
            if day["company_id"] == company and in_window(day["day"], as_of, 30)
        ]
        calls = sum(day["calls"] for day in month)
        errors = sum(day["errors_4xx"] + day["errors_5xx"] for day in month)
        quota = number_in(profile["metadata"], "plan_quota_calls_30d")
        last = profile["days_since_last_seen"]
        parts = [
            (3, max(0, 1 - last / 30) if last is not None else 0),
            (2, None if profile["calls_trend_30d"] is None else 0.5 + profile["calls_trend_30d"]),
            (1, profile["features_used_30d"] / 5 if profile["features_used_30d"] > 0 else None),
            (2, 1 - 5 * errors / calls if calls else None),
            (1, profile["calls_30d"] / quota if quota is not None and quota > 0 else None),
        ]
        counted = [(weight, min(1, max(0, part))) for weight, part in parts if part is not None]
        scores[company] = sum(weight * part for weight, part in counted) / sum(
            weight for weight, _ in counted
        )
    return scores


def alerts(tables: Mapping[str, list[Row]], metered: Sequence[Row], as_of: date) -> set[tuple[str, str]]:
    """(rule, company) of what the rules in sql/alerts/ find, but for the one on latency (latency_doubled)."""
    found = set()
    for profile in tables["marts.company_profiles"]:
        company = profile["company_id"]

        def total(
            measure: str,
            first: int,
            last: int,
            company: str = company,
            usage: Sequence[Row] = tables["marts.company_usage_daily"],
        ) -> int:
            """Of days that lie so many days before the as-of day."""
            days = [
                d for d in usage if d["company_id"] == company and first <= (as_of - d["day"]).days <= last
            ]
            return sum(day[measure] for day in days)

        now, before = total("calls", 0, 6), total("calls", 7, 34) / 4
        if before >= 20 and now < before / 2:
            found.add(("calls_fell_by_half", company))
        if now >= 20 and total("errors_5xx", 0, 6) * 20 >= now:
            found.add(("server_errors", company))
        last = profile["days_since_last_seen"]
        if profile["active_days_30d"] >= 10 and last is not None and last >= 3:
            found.add(("gone_silent", company))
    for row in metered:
        if not row["is_closed"] and row["quota"] is not None and row["quantity"] > row["quota"]:
            found.add(("quota_exceeded", row["company_id"]))
    return found


def latency_doubled(
    nights: Sequence[Night], as_of: date, settings: OracleSettings = DEFAULTS
) -> dict[str, float]:
    """company -> how many times as long its calls of the last 7 days took as those of the four weeks before: the means of
    each day's p90, by timed calls. Of those only with 50 timed calls in both."""
    sums: dict[str, dict[bool, list[float]]] = {}
    for (day, company), (timed, _, exact) in latencies(nights, settings).items():
        age = (as_of - day).days
        if company is not None and timed > 0 and 0 <= age < 35:
            so_far = sums.setdefault(company, {}).setdefault(age < 7, [0, 0])
            so_far[0] += timed
            so_far[1] += timed * (exact[90] or 0)
    return {
        company: (now[1] / now[0]) / (before[1] / before[0])
        for company, own in sums.items()
        if (now := own.get(True, [0, 0]))[0] >= 50 and (before := own.get(False, [0, 0]))[0] >= 50
    }


def subscription_days(loaded: Loaded) -> list[tuple[str, str, date, date]]:
    """(company, subscription, first day, last day) of each period that a subscription ever had."""
    found = []
    for subscription_id in {u.id for u in loaded.updates if u.entity == "subscription"}:
        own = [u for u in loaded.updates if u.entity == "subscription" and u.id == subscription_id]
        own.sort(key=lambda u: (u.at, u.order))
        company = next((u.company_id for u in own if u.company_id is not None), None)
        start = end = None
        told: dict[date, tuple[str, date]] = {}
        for update in own:
            company = update.company_id if update.company_id is not None else company
            start = update.current_period_start or start
            end = update.current_period_end or end
            if company is not None and start is not None and end is not None and start < end:
                told[start.date()] = company, (end - timedelta(microseconds=1)).date()
        firsts = sorted(told)
        for first, following in zip(firsts, [*firsts, date.max][1:], strict=True):
            whose, last = told[first]
            found.append((whose, subscription_id, first, min(last, following - timedelta(days=1))))
    return found


QUOTA_KEYS = {
    "calls": ("quota_calls", "plan_quota_calls", "plan_quota_calls_30d"),
    "feature_total": ("quota_feature_total", "plan_quota_feature_total", "plan_quota_feature_total_30d"),
}


def quota_of(metadata: dict[str, Json] | None, meter: str) -> float | None:
    for key in QUOTA_KEYS[meter]:
        quota = (metadata or {}).get(key)
        if isinstance(quota, int | float) and not isinstance(quota, bool) and quota >= 0:
            return float(quota)
    return None


def meter_usage(nights: Sequence[Night], as_of: date, settings: OracleSettings = DEFAULTS) -> list[Row]:
    """What the two meters that come along count: each day of usage goes to every period that it is in, else to its month."""
    loaded = load(nights, settings)
    claims = claims_of(loaded.updates)
    used = [("calls", company_of(c, claims)[0], c.at.date(), c.weight) for c in loaded.calls]
    used += [("feature_total", f.account_id, f.at.date(), f.total) for f in loaded.features]
    periods = subscription_days(loaded)
    sums: dict[tuple[str, str, str | None, date, date], list[int]] = {
        (meter, company, subscription, first, last): []
        for meter in QUOTA_KEYS
        for company, subscription, first, last in periods
        if first <= as_of
    }
    for meter, owner, day, quantity in used:
        if owner is None or day > as_of:
            continue
        within = [p for p in periods if p[0] == owner and p[2] <= day <= p[3]]
        for period in within:
            sums[(meter, *period)].append(quantity)
        if not within:
            month = day.replace(day=1)
            last = (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)
            sums.setdefault((meter, owner, None, month, last), []).append(quantity)

    def metadata(entity: str, own_id: str | None) -> dict[str, Json] | None:
        own = [u for u in loaded.updates if u.entity == entity and u.id == own_id]
        return merged_metadata(loaded, own).value

    rows = []
    for (meter, company, subscription, first, last), quantities in sums.items():
        quota = quota_of(metadata("subscription", subscription), meter)
        if quota is None:
            quota = quota_of(metadata("company", company), meter)
        quantity = saturated(quantities)
        rows.append(
            {
                "meter": meter,
                "company_id": company,
                "subscription_id": subscription,
                "period_start": first,
                "period_end": last,
                "quantity": quantity,
                "quota": quota,
                "share": quantity / quota if quota else None,
                "is_closed": last < as_of,
            }
        )
    return rows


def meter_adjustments(nights: Sequence[Night], as_of: Sequence[date]) -> list[Row]:
    """What each night changed of periods that an earlier one had found closed. as_of: of each night."""
    closed: dict[tuple[Json, ...], Row] = {}
    rows: list[Row] = []
    for night, day in enumerate(as_of):
        now = {
            (r["meter"], r["company_id"], r["subscription_id"], r["period_start"]): r
            for r in meter_usage(nights[: night + 1], day)
        }
        over = max(as_of[:night], default=date.min)
        for key in now.keys() | closed.keys():
            new, old = now.get(key), closed.get(key)
            was_closed = old is not None or (new is not None and new["period_end"] < over)
            before, after = (0 if row is None else row["quantity"] for row in (old, new))
            if was_closed and before != after:
                names = ("meter", "company_id", "subscription_id", "period_start")
                rows.append(
                    {
                        "run": str(night),
                        **dict(zip(names, key, strict=True)),
                        "quantity_before": before,
                        "quantity_after": after,
                    }
                )
        closed = {key: row for key, row in now.items() if row["is_closed"]}
    return rows
