"""Data quality: what became of every file and record, and what the checks say."""

from __future__ import annotations

from .asking import Ask, View
from .listing import Listing

_FILES = """
SELECT count(*) AS files, count(*) FILTER (WHERE error IS NOT NULL AND note IS NULL) AS unreadable,
       CAST(coalesce(sum(records), 0) AS BIGINT) AS records, CAST(coalesce(sum(loaded), 0) AS BIGINT) AS loaded,
       CAST(coalesce(sum(duplicates), 0) AS BIGINT) AS duplicates,
       CAST(coalesce(sum(rejected), 0) AS BIGINT) AS rejected, CAST(coalesce(sum(repaired), 0) AS BIGINT) AS repaired
FROM ops.files"""

_REASONS = """
SELECT source, reason, count(*) AS records, any_value(detail) AS example FROM ops.rejects
GROUP BY source, reason ORDER BY records DESC, source, reason"""

_REPAIRS = """
SELECT source, what, count(*) AS repairs, any_value(detail) AS example FROM ops.repairs
GROUP BY source, what ORDER BY repairs DESC, source, what"""

_COUNTS = """
SELECT (SELECT count(*) FROM marts.metadata_conflicts) AS conflicts,
       (SELECT count(*) FROM marts.alias_conflicts) AS aliases,
       (SELECT count(*) FROM marts.crm_conflicts) AS crm,
       (SELECT count(*) FROM ops.restatements) AS restatements,
       (SELECT count(*) FROM ops.meter_adjustments) AS adjustments,
       (SELECT count(*) FROM core.check_results WHERE failures > 0 AND NOT warns) AS failing,
       (SELECT count(*) FROM core.check_results WHERE failures > 0 AND warns) AS warning,
       (SELECT count(*) FROM core.check_results) AS checks"""

FILES = Listing(
    title="Files",
    about="Every file that was ever seen. Records = loaded + duplicates + rejected.",
    query="""
        SELECT file_seq, source, path, CASE WHEN error IS NULL THEN 'read' ELSE 'unreadable' END AS state, bytes,
               received_date, first_seen_at, records, loaded, duplicates, rejected, repaired, error, note
        FROM ops.files""",
    hides=("source", "state", "received_date"),
    order="file_seq DESC",
    facets=("source", "state"),
    labels={"file_seq": "no."},
)
REJECTS = Listing(
    title="Rejected records",
    about="Every record that was not loaded: where it stood, why, and its text as it came (credentials replaced).",
    query="""
        SELECT r.rowid AS row, r.source, r.reason, r.detail, r.file_seq, f.path, r.line, r.element, r.raw
        FROM ops.rejects AS r LEFT JOIN ops.files AS f USING (file_seq)""",
    looks={"reason": "text"},
    hides=("source",),
    order="file_seq DESC, line, element",
    facets=("source", "reason", "file_seq"),
    labels={"file_seq": "file", "raw": "record"},
)
REPAIRS = Listing(
    title="Repaired values",
    about="Every value that was changed so that its record could be loaded.",
    query="""
        SELECT r.rowid AS row, r.source, r.what, r.detail, r.file_seq, f.path, r.line, r.element
        FROM ops.repairs AS r LEFT JOIN ops.files AS f USING (file_seq)""",
    hides=("source",),
    order="file_seq DESC, line, element, what, detail",
    facets=("source", "what", "file_seq"),
    labels={"file_seq": "file"},
)
CONFLICTS = Listing(
    title="Metadata of the wrong type",
    about="Values that were dropped, because their key is locked to another type. The rest of the update stands.",
    query="""
        SELECT c.rowid AS row, c.entity, c.entity_id AS id, c.key, c.path, c.expected_type, c.actual_type, c.value, c.file_seq,
               c.line, c.element
        FROM marts.metadata_conflicts AS c""",
    looks={"id": "entity", "value": "code"},
    hides=("entity", "key", "element"),
    order="file_seq DESC, line, element, path",
    facets=("key", "entity", "file_seq"),
    labels={"id": "of", "expected_type": "locked to", "actual_type": "was", "file_seq": "file"},
)
ALIASES = Listing(
    title="Tokens that several companies claim",
    about="Each day's calls go to the last company that claimed the token on or before it.",
    query="SELECT session_token, company_ids FROM marts.alias_conflicts",
    order="session_token",
)
CRM = Listing(
    title="CRM records with one key",
    about="None of them is chosen to enrich a profile. Merge them in HubSpot.",
    query="SELECT object, match_key, record_ids FROM marts.crm_conflicts",
    order="object, match_key",
    facets=("object",),
    narrows=("match_key",),
)
RESTATEMENTS = Listing(
    title="Restated days",
    about="Calls that moved from one company to another, because a claim arrived after them.",
    query="SELECT run, day, company_id_before, company_id_after, calls, reason FROM ops.restatements",
    order="day DESC, run, company_id_before, company_id_after",
    facets=("reason", "run"),
    labels={"company_id_before": "from", "company_id_after": "to"},
)
CHECKS = Listing(
    title="Checks",
    about="The last result of each check: a query for rows that should not be.",
    query="""
        SELECT CASE WHEN failures = 0 THEN 'holds' WHEN warns THEN 'to look at' ELSE 'fails' END AS result, model, name, failures,
               CASE WHEN failures > 0 THEN sample END AS sample
        FROM core.check_results""",
    looks={"name": "words", "model": "code"},
    order="failures DESC, model, name",
    facets=("result", "model"),
    labels={"model": "table", "name": "check", "failures": "rows", "sample": "such as"},
)
LISTINGS = {
    "files": FILES,
    "rejects": REJECTS,
    "repairs": REPAIRS,
    "metadata": CONFLICTS,
    "tokens": ALIASES,
    "crm": CRM,
    "restatements": RESTATEMENTS,
    "checks": CHECKS,
}


def page(ask: Ask) -> View:
    return View(
        "quality.html",
        "Data quality",
        {
            "files": ask.rows.one(_FILES),
            "counts": ask.rows.one(_COUNTS),
            "reasons": ask.rows(_REASONS),
            "repairs": ask.rows(_REPAIRS),
        },
    )
