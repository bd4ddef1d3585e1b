"""The steps that bring the databases of older releases to the shape that this release expects.

Only what is kept needs a step: the raw tables and the registry (`raw.duckdb`), and tables of `warehouse.duckdb` whose
rows cannot be computed again. Computed tables follow their model files by themselves, and history tables whose columns
change are carried over by the build. `database.open_warehouse` takes the steps; each is a transaction in each database.

To change a raw table: change it where it is defined, and append a step here that does the same to a database that has
it already. Steps are never changed or removed; their number is the schema version.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Migration:
    """about: for the person who reads the log. raw, warehouse: SQL for each database, '' for none.

    Where large tables lie in files, an ALTER TABLE, UPDATE or DELETE of one is done file by file (`stored.upgrade`): so it says
    what becomes of a row by that row alone.

    A database may lack a table (it is made when it is first needed): write ALTER TABLE IF EXISTS. only_with: a table of the
    database without which the step has nothing to do.
    """

    about: str
    raw: str = ""
    warehouse: str = ""
    only_with: str = ""


_CONTENTS = "".join(
    f"ALTER TABLE IF EXISTS raw.{table} ADD COLUMN IF NOT EXISTS {column};\n"
    for table, columns in {
        "files": (
            "lines BIGINT, head VARCHAR, tail_byte BIGINT, tail_sha256 VARCHAR, end_line BIGINT, end_sha256 VARCHAR, "
            "tail VARCHAR, grown_from BIGINT, packed_sha256 VARCHAR, replay_byte BIGINT, replay_sha256 VARCHAR, "
            "withdrawn_at TIMESTAMP, loaded_under VARCHAR"
        ),
        "paths": "gone BOOLEAN",
        "rejects": "waits BOOLEAN",
        "api_call_keys": "load_seq BIGINT",
        "action_keys": "load_seq BIGINT",
        "feature_keys": "load_seq BIGINT",
        "feature_slots": "load_seq BIGINT",
        "feature_names": "load_seq BIGINT",
    }.items()
    for column in columns.split(", ")
)

# Of keys that were UHUGEINT. Those of features were md5 as it is, of which each half is a number, its bytes reversed.
_FIRST_BITS, _LAST_BITS = "key & 9223372036854775807::UHUGEINT", "key >> 65"


def _number_of(start: str) -> str:
    digits = " || ".join(f"substr(hex(key), {start} + {at}, 2)" for at in range(15, 0, -2))
    return f"CAST('0x' || {digits} AS UBIGINT)"


MIGRATIONS: tuple[Migration, ...] = (
    Migration("schema versions are kept"),
    Migration(
        "files may end before a line that was half-written",
        raw="ALTER TABLE IF EXISTS raw.files ADD COLUMN IF NOT EXISTS end_byte BIGINT",
    ),
    Migration(
        "checks run when what they read has changed",
        warehouse="ALTER TABLE IF EXISTS core.check_results ADD COLUMN IF NOT EXISTS inputs VARCHAR",
    ),
    Migration(
        "files are known by what they unpack to; unfinished records wait; files can be withdrawn",
        raw=_CONTENTS,
    ),
    Migration(
        "events and user updates keep their anonymous_id",
        raw="".join(
            f"ALTER TABLE IF EXISTS raw.{table} ADD COLUMN IF NOT EXISTS anonymous_id VARCHAR{default};"
            for tables, default in (
                (("api_calls", "actions", "company_updates", "user_updates", "erased_claims"), ""),
                (
                    (
                        "dropped_api_calls__core_api_usage_daily",
                        "dropped_api_calls__core_error_usage_daily",
                        "dropped_actions__core_action_usage_daily",
                    ),
                    " DEFAULT ''",
                ),
            )
            for table in tables
        ),
        # What they held before is the "before" of the next build's restatements.
        warehouse="".join(
            f"ALTER TABLE IF EXISTS core.{table} ADD COLUMN IF NOT EXISTS anonymous_id VARCHAR DEFAULT '';"
            for table in ("attribution", "api_usage_daily")
        ),
    ),
    Migration(
        "files that older releases saw grow know what they went on from",
        raw="""ALTER TABLE IF EXISTS raw.files ALTER grown_from SET DATA TYPE BIGINT USING coalesce(grown_from,
            CASE WHEN start_byte > 0 THEN TRY_CAST(regexp_extract(note, '^goes on where file (\\d+) ended', 1) AS BIGINT) END)""",
    ),
    Migration(
        "how long what was erased is, by which texts are searched for it",
        raw="ALTER TABLE IF EXISTS raw.erasures ADD COLUMN IF NOT EXISTS length INTEGER",
    ),
    Migration(
        "API calls keep how long they took",
        raw="ALTER TABLE IF EXISTS raw.api_calls ADD COLUMN IF NOT EXISTS latency_us BIGINT;"
        "ALTER TABLE IF EXISTS raw.dropped_api_calls__core_api_usage_daily ADD COLUMN IF NOT EXISTS latencies BIGINT[]",
        # As above.
        warehouse="ALTER TABLE IF EXISTS core.api_usage_daily ADD COLUMN IF NOT EXISTS latencies BIGINT[]",
    ),
    Migration(
        "the hashes that tell events apart are kept as two numbers, which every engine has",
        raw="".join(
            f"""ALTER TABLE IF EXISTS raw.{table} ADD COLUMN IF NOT EXISTS key_last BIGINT;
            ALTER TABLE IF EXISTS raw.{table} ALTER key_last SET DATA TYPE BIGINT USING CAST({last} AS BIGINT);
            ALTER TABLE IF EXISTS raw.{table} ALTER key SET DATA TYPE BIGINT USING CAST({first} AS BIGINT);
            ALTER TABLE IF EXISTS raw.{table} RENAME key TO key_first;"""
            for table, first, last in (
                ("api_call_keys", _FIRST_BITS, _LAST_BITS),
                ("action_keys", _FIRST_BITS, _LAST_BITS),
                (
                    "feature_keys",
                    _number_of("0") + " & 9223372036854775807::UBIGINT",
                    _number_of("16") + " >> 1",
                ),
            )
        ),
    ),
    Migration(
        "API calls may keep their endpoint whatever becomes of them",
        raw="ALTER TABLE IF EXISTS raw.api_calls ADD COLUMN IF NOT EXISTS keeps_route BOOLEAN",
    ),
    Migration(
        # Nothing is missing where it is summed up.
        "API calls that were dropped before had no endpoint",
        raw="""CREATE TABLE IF NOT EXISTS raw.dropped_api_calls__core_endpoint_usage_daily (day DATE, company_id VARCHAR,
            user_id VARCHAR, session_token VARCHAR, anonymous_id VARCHAR, verb VARCHAR, route VARCHAR, calls BIGINT,
            errors BIGINT, latencies BIGINT[])""",
        only_with="dropped_api_calls__core_api_usage_daily",
    ),
)
