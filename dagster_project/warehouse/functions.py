"""Functions that queries of model files may use, and the plain SQL that each stands for.

They are put in when a model file is read (`models.parse_model`). So what DuckDB runs, what lineage is read from, and
what is carried over to another engine is plain SQL.
"""

from __future__ import annotations

LARGEST = 2**63 - 1
# A sum of BIGINTs that stops at the largest one, where a cast of DuckDB's HUGEINT would be an error.
_MEANS = {"saturating_sum": f"CAST(least(sum({{}}), {LARGEST}) AS BIGINT)"}


def written_out(query: str) -> str:
    """The query with each of these functions in plain SQL. Raises ValueError where a call does not end."""
    for name, meaning in _MEANS.items():
        call = f"{name}("
        while (at := query.find(call)) >= 0:
            end = _end(query, at + len(call))
            query = query[:at] + meaning.format(query[at + len(call) : end]) + query[end + 1 :]
    return query


def _end(query: str, start: int) -> int:
    """Where the parenthesis is that closes a call whose argument begins at `start`."""
    depth, in_text = 1, False
    for at in range(start, len(query)):
        char = query[at]
        if char == "'":
            in_text = not in_text
        elif not in_text:
            depth += (char == "(") - (char == ")")
            if depth == 0:
                return at
    raise ValueError(f"{query[start - 20 : start + 40]!r}: a parenthesis is missing")
