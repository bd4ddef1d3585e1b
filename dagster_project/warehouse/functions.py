"""Functions that queries of model files may use, and the plain SQL that each stands for.

They are put in when a model file is read (`models.parse_model`). So what DuckDB runs, what lineage is read from, and
what is carried over to another engine is plain SQL.
"""

from __future__ import annotations

LARGEST = 2**63 - 1
# A histogram of latencies is a list of whole numbers: a bucket, plus 256 times the calls that are in it. So it is as easy to
# merge as lists are, and small where calls are few. A bucket reaches from one power of this base (in microseconds) to the
# next, and stands for what lies between: no value is off by more than 5 %. A day is in bucket 254.
_BASE, _LN_BASE = 1.105, 0.09984533496971612
_LONG = 512  # from here on, the entries of one bucket are put together
_MOST_IN_BUCKET = 2**54
# A long histogram, with its entries of one bucket put together.
_PUT_TOGETHER = f"""list_transform(
        [map_entries(list_aggregate({{0}}, 'histogram'))], lambda found: list_filter(list_transform(range(256),
            lambda bucket: bucket + 256 * CAST(least(coalesce(list_sum(list_transform(
                list_filter(found, lambda one: one.key & 255 = bucket),
                lambda one: CAST(one.key >> 8 AS HUGEINT) * one.value)), 0), {_MOST_IN_BUCKET}) AS BIGINT)),
            lambda entry: entry >= 256))[1]"""
# A sum of BIGINTs that stops at the largest one, where a cast of DuckDB's HUGEINT would be an error.
_MEANS = {
    "saturating_sum": f"CAST(least(sum({{0}}), {LARGEST}) AS BIGINT)",
    # A path with its numbers and hashes as `:id`. Slashes are doubled, so that neighbours do not share one, and the end has one
    # of its own to match.
    "folded_route": """regexp_replace(replace(regexp_replace(
        replace(concat(coalesce({0}, ''), '/'), '/', '//'),
        '/([0-9]+|[0-9a-fA-F-]*[0-9][0-9a-fA-F-]{{7,}})/', '/:id/', 'g'
    ), '//', '/'), '/$', '', 'g')""",
    # Of a latency in microseconds.
    "latency_bucket": f"CASE WHEN {{0}} <= 0 THEN 0 ELSE 1 + CAST(ceil(ln({{0}}) / {_LN_BASE}) AS BIGINT) END",
    # What a bucket stands for, in milliseconds.
    "latency_ms": f"CASE WHEN {{0}} = 0 THEN 0 ELSE round(2 * pow({_BASE}, {{0}} - 1) / {(_BASE + 1) * 1000}, 6) END",
    # Of several histograms; null where none is known, as over one.
    "merged_latencies": f"""CASE WHEN coalesce(sum(len({{0}})), 0) = 0 THEN NULL
        WHEN sum(len({{0}})) <= {_LONG} THEN flatten(list({{0}}))
        ELSE {_PUT_TOGETHER.format("flatten(list({0}))")} END""",
}
# What these come to over one row.
_ALONE = {
    "merged_latencies": f"CASE WHEN coalesce(len({{0}}), 0) <= {_LONG} THEN {{0}} ELSE {_PUT_TOGETHER} END",
}


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


def of_one_row(function: str, value: str) -> str:
    """What an aggregate of model files comes to over one row, in plain SQL."""
    return _ALONE.get(function, "{0}").format(value)
