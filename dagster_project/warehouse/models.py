"""Model files: one table a file below `sql/`, its documentation, contract and checks in the header.

    -- What the table is, in a sentence or two.
    -- grain: day, company_id
    -- rebuild: day
    -- columns:
    --   day         DATE     GMT day
    -- erases:
    --   company: company_id
    -- checks:
    --   name: SELECT the rows that should not be
    --   name (warn): ...
    -- page: company
    -- draws: calls
    SELECT ...

`rebuild` says how a table follows its inputs: `whole` (the default), `merge` (new rows of `raw` beyond $since are
aggregated and merged; `merge:` names the aggregate of each measure), `day` (the days that changed in its inputs,
or in those named by `days:`, are computed again) or `append` (the query's rows are added each time its inputs
change). `previous:` names tables that the query reads as they were before this build. `stamp:` names a column
that tells when the rest of the row last changed. A line `* core.example` below `columns:` stands for all columns of
that model. `by:` names the module that computes the table instead of a
query, and `from:` what it reads. `history: true`: its rows tell what was, and cannot be computed again; they stay when
the file changes. (With neither query nor `by:`, somebody else writes it: a destination.) `erases:` says what of a table
whose rows stay (history, or with a `stamp:`) goes when somebody is erased: a kind of id, and an SQL expression that
gives it, or null; or `erases: nothing`. A line, of the header or of the query, that ends with `-- if: sql/health/company.sql` is
there only if that file of the users' is, with a query in it. `page:` puts the table's rows on the portal's page of each
company or user (or of both) that they are about, by `company_id` or `user_id`; `draws:` names the measures that are drawn
there, day by day.
What a query reads is taken from the query itself. A query may use the functions of `functions.py`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import get_args

import duckdb

from .columns import Column, Kind, identifiers, leading_type, names_of
from .database import parser
from .functions import written_out
from .python_models import NotAModel, python_model

_JSON = json.JSONDecoder()
REBUILDS = ("whole", "merge", "day", "append")
_KEYS = (
    *("grain", "rebuild", "merge", "previous", "days", "stamp", "by", "from", "history", "erases"),
    *("columns", "checks", "page", "draws"),
)
PAGES = ("company", "user")
# Folders of sql/ that hold queries of their users' own making; they are no tables.
QUERY_FOLDERS = ("cohorts", "outbound", "examples", "health", "alerts", "meters", "load")


class ModelError(Exception):
    """A model file that cannot be used. Names the file and what to change."""


@dataclass(frozen=True)
class Check:
    """A query for rows that should not be. A failed check stops the build, unless it only warns."""

    name: str
    query: str
    warns: bool = False


@dataclass(frozen=True)
class Model:
    name: str  # schema.table
    about: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    checks: tuple[Check, ...]
    query: str
    rebuild: str = "whole"
    merge: Mapping[str, str] = field(default_factory=dict)
    previous: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    stamp: str | None = None
    by: str | None = None
    page: tuple[str, ...] = ()  # of whom it is shown
    draws: tuple[str, ...] = ()
    is_history: bool = False
    erases: tuple[tuple[Kind, str], ...] = ()
    inputs: tuple[str, ...] = ()
    code: str = ""

    @property
    def schema(self) -> str:
        return self.name.split(".")[0]

    @property
    def table(self) -> str:
        return self.name.split(".")[1]

    @property
    def column_names(self) -> str:
        """As SQL takes them."""
        return names_of(self.columns)

    @property
    def grain_names(self) -> str:
        return identifiers(self.grain)

    @property
    def uses_as_of(self) -> bool:
        return "$as_of" in self.query


def read_models(folder: Path) -> dict[str, Model]:
    """All models below a folder, in the order in which they are built. Raises ModelError."""
    models: dict[str, Model] = {}
    named: dict[str, str] = {}  # tables that users' files name, and the file
    for path in sorted(folder.glob("*/*.sql")):
        if path.parent.name not in QUERY_FOLDERS:
            model = _read(folder, f"{path.parent.name}.{path.stem}")
            if model.by:
                # A module may read what its users' files name.
                try:
                    more = python_model(model.by).reads()
                except NotAModel as error:
                    raise ModelError(f"{model.name}: by: {error}") from error
                named |= more
                model = replace(model, inputs=tuple(sorted({*model.inputs, *more})))
            models[model.name] = model
    for model in models.values():
        unknown = [
            n
            for n in (*model.inputs, *model.previous, *model.days)
            if n not in models and not n.startswith("raw.")
        ]
        if unknown:
            file = named.get(unknown[0], f"sql/{model.schema}/{model.table}.sql")
            raise ModelError(f"{file} reads {', '.join(unknown)}: no such model")
    return in_order(models)


def _read(folder: Path, name: str) -> Model:
    schema, table = name.split(".")
    text = _with_files(folder.parent, (folder / schema / f"{table}.sql").read_text(encoding="utf-8"))

    def columns_of(other: str) -> tuple[Column, ...]:
        if other == name or not (folder / f"{other.replace('.', '/')}.sql").is_file():
            raise ModelError(f"sql/{schema}/{table}.sql: columns of {other}: no such other model")
        return _read(folder, other).columns

    return parse_model(name, text, columns_of)


_IF = re.compile(r"[ \t]*-- if: (\S+)$")


def _with_files(root: Path, text: str) -> str:
    """The text without the lines that are for files which are not there, or have nothing but comments in them."""
    lines = []
    for line in text.splitlines():
        found = _IF.search(line)
        if found is None:
            lines.append(line)
        elif (file := root / found[1]).is_file() and any(
            said.strip() and not said.strip().startswith("--")
            for said in file.read_text(encoding="utf-8-sig").splitlines()
        ):
            lines.append(line[: found.start()])
    return "\n".join(lines) + "\n"


def in_order(models: Mapping[str, Model]) -> dict[str, Model]:
    graph: dict[str, set[str]] = {name: set() for name in models}
    for model in models.values():
        for name in model.inputs:
            if name in models and name not in model.previous:
                graph[model.name].add(name)
        for name in model.previous:
            if name != model.name:
                graph[name].add(model.name)
    # Tables of one module are built together, when the inputs of all are there.
    for model in models.values():
        if model.by:
            for other in models.values():
                if other.by == model.by:
                    graph[model.name] |= graph[other.name] - {
                        m.name for m in models.values() if m.by == model.by
                    }
    try:
        order = list(TopologicalSorter({k: sorted(v) for k, v in sorted(graph.items())}).static_order())
    except CycleError as error:
        raise ModelError(f"models read each other in a circle: {' -> '.join(error.args[1])}") from error
    return {name: models[name] for name in order}


def parse_model(name: str, text: str, columns_of: Callable[[str], Sequence[Column]] = lambda _: ()) -> Model:
    """A model from its file's text. columns_of: the columns of another model, by its name. Raises ModelError."""
    header: dict[str, list[str]] = {"about": []}
    key, body = "about", text
    for line in text.splitlines(keepends=True):
        if not line.startswith("--"):
            break
        body = body[len(line) :]
        content = line[2:].rstrip()
        match = re.match(r" (\w+):\s*(.*)$", content)
        if match and match[1] in _KEYS:
            key = match[1]
            if key in header:
                raise ModelError(f"{name}: {key}: is said twice")
            header[key] = [match[2]] if match[2] else []
        elif match and key == "about" and difflib.get_close_matches(match[1], _KEYS):
            raise ModelError(f"{name}: unknown header {match[1]!r}; known: {', '.join(_KEYS)}")
        else:
            header[key].append(content)
    try:
        query = written_out(bare(body))
    except ValueError as error:
        raise ModelError(f"{name}: {error}") from error

    def names(field_name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in " ".join(header.get(field_name, [])).split(",") if part.strip())

    def word(field_name: str) -> str | None:
        return " ".join(header.get(field_name, [])).strip() or None

    columns: tuple[Column, ...] = ()
    for line in header.get("columns", []):
        if inherited := re.match(r"\s+\* (\w+\.\w+)$", line):
            columns += tuple(columns_of(inherited[1]))
        elif line.strip():
            columns += (_column(name, line),)
    rebuild = word("rebuild") or "whole"
    by = word("by")
    if rebuild not in REBUILDS:
        raise ModelError(f"{name}: rebuild: {rebuild}: must be one of {', '.join(REBUILDS)}")
    if not columns or not header["about"]:
        raise ModelError(f"{name}: the header needs a description and `columns:`")
    if word("history") not in (None, "true"):
        raise ModelError(f"{name}: history: {word('history')}: must be `true`, or left out")
    is_history = rebuild == "append" or word("history") == "true"
    if (by and query) or not (by or query or is_history):
        raise ModelError(
            f"{name}: needs either a query or `by:`, or is `history: true` that somebody else writes"
        )
    erases = _erases(name, header.get("erases", []))
    if erases is None and (is_history or word("stamp")):
        raise ModelError(
            f"{name}: its rows stay when somebody is erased: say in `erases:` what of it names whom, or `erases: nothing`"
        )
    grain = names("grain")
    known = {c.name for c in columns}
    for column in (*grain, *([word("stamp")] if word("stamp") else [])):
        if column not in known:
            raise ModelError(f"{name}: {column} is not among its columns")
    page, draws = names("page"), names("draws")
    _check_page(name, page, draws, columns, grain)
    return Model(
        name=name,
        about=" ".join(part.strip() for part in header["about"]).strip(),
        grain=grain,
        columns=columns,
        checks=_checks(name, header.get("checks", [])),
        query=query,
        rebuild=rebuild,
        merge=_merge(name, " ".join(header.get("merge", [])), rebuild, known - set(grain)),
        previous=names("previous"),
        days=names("days"),
        stamp=word("stamp"),
        by=by,
        page=page,
        draws=draws,
        is_history=is_history,
        erases=erases or (),
        inputs=tables_in(query) if query else names("from"),
        code=hashlib.sha256(f"{text}\n{query}\n{columns}".encode()).hexdigest()[:16],
    )


def bare(query: str) -> str:
    """A query without the semicolon that ends it and what follows, so that it may stand inside another one."""
    text = query.encode()  # tokens are told by their bytes
    tokens = [at for at, kind in duckdb.tokenize(query) if kind != duckdb.token_type.comment]
    while tokens and text[tokens[-1] :].startswith(b";"):
        text = text[: tokens.pop()]
    return text.decode().strip()


@cache
def tables_in(query: str) -> tuple[str, ...]:
    """The tables that a query reads, as schema.table, sorted. (A common table expression has no schema.)"""
    statement = "SELECT CAST(json_serialize_sql(?) AS VARCHAR)"
    [(text,)] = parser().execute(statement, [query]).fetchall()
    if text.startswith('{"error":true'):
        raise ModelError(f"not a query that DuckDB can read: {json.loads(text)['error_message']}")
    found: set[str] = set()
    # Of a tree of some thousand nodes only these are read. (In a text of the query these quotes would have backslashes.)
    for node in re.finditer(r'\{"type":"BASE_TABLE"', text):
        table, _ = _JSON.raw_decode(text, node.start())
        if table["schema_name"]:
            found.add(f"{table['schema_name']}.{table['table_name']}")
    return tuple(sorted(found))


def _column(model: str, line: str) -> Column:
    match = re.match(r"\s+(\w+)\s+(.*)$", line)
    try:
        if not match:
            raise ValueError("no name and type")
        return Column(match[1], *leading_type(match[2]))
    except ValueError as error:
        raise ModelError(
            f"{model}: column line {line.strip()!r}: must be: name TYPE description; {error}"
        ) from error


def _erases(model: str, lines: Sequence[str]) -> tuple[tuple[Kind, str], ...] | None:
    """Kinds of id with the expressions that give them; None where the header does not say."""
    found: list[tuple[Kind, str]] = []
    given = [line.strip() for line in lines if line.strip()]
    for line in given if given != ["nothing"] else []:
        kind, _, expression = (part.strip() for part in line.partition(":"))
        known = [k for k in get_args(Kind) if k == kind]
        if not known or not expression:
            raise ModelError(
                f"{model}: erases: {line!r}: must be: kind: expression; kinds are {', '.join(get_args(Kind))}"
            )
        found.append((known[0], expression))
    return tuple(found) if given else None


def _check_page(
    model: str,
    page: Sequence[str],
    draws: Sequence[str],
    columns: Iterable[Column],
    grain: Sequence[str],
) -> None:
    """What the portal needs to show a table on the page of somebody."""
    types = {column.name: column.type for column in columns}
    for entity in page:
        if entity not in PAGES:
            raise ModelError(f"{model}: page: {entity}: must be one of {', '.join(PAGES)}")
        if f"{entity}_id" not in types:
            raise ModelError(f"{model}: page: {entity}: needs a column {entity}_id")
    for drawn in draws:
        measure = re.sub(r"^highest\((\w+)\)$", r"\1", drawn)
        if not page or "day" not in grain:
            raise ModelError(f"{model}: draws: {measure}: needs `page:`, and a grain with day")
        if types.get(measure) not in ("BIGINT", "INTEGER", *(["DOUBLE"] if measure != drawn else [])):
            raise ModelError(
                f"{model}: draws: {drawn}: must be a column of whole numbers (BIGINT), or highest(…) of any numbers"
            )


def _checks(model: str, lines: Sequence[str]) -> tuple[Check, ...]:
    checks: list[Check] = []
    for line in lines:
        match = re.match(r"\s{2,4}(\w+)( \(warn\))?:\s*(.*)$", line)
        if match:
            checks.append(Check(match[1], match[3], bool(match[2])))
        elif line.strip() and checks:
            last = checks.pop()
            checks.append(Check(last.name, f"{last.query}\n{line.strip()}".strip(), last.warns))
        elif line.strip():
            raise ModelError(f"{model}: check line {line.strip()!r}: must be: name: SELECT ...")
    return tuple(checks)


def _merge(model: str, text: str, rebuild: str, measures: Iterable[str]) -> dict[str, str]:
    found = {
        column.strip(): function
        for function, columns in re.findall(r"(\w+)\(([^)]*)\)", text)
        for column in columns.split(",")
    }
    if (rebuild == "merge") != bool(found) or (found and set(found) != set(measures)):
        raise ModelError(f"{model}: `merge:` must name an aggregate for each column that is not of the grain")
    return found
