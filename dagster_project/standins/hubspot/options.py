"""Switches for what HubSpot does, or may do, that a client has to survive either way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RowOrCall = Literal["multi_status", "whole_call"]


@dataclass(frozen=True)
class Options:
    """Every default is the answer seen on live accounts or, where nobody knows, the harsher one.

    ``update_invalid``: a batch update with a refused value and unique trace ids; unconfirmed, so by
    default the whole call is a 400 and nothing is written. ``upsert_conflict``: one row that collides
    with another record (seen: the whole call is a 409). ``email_upsert_partial``: whether an upsert by
    email can be a 207 at all ("partial upserts are not supported" is not defined anywhere).
    ``update_by_email``: whether batch update takes ``idProperty: email``. ``partial_status``: ``"207"``,
    or ``"declared"`` for the 200/201 that the 2026-09 documents declare, with ``errors`` in the body.
    ``duplicate_reads``: the same id twice in a batch read. ``full_errors``: per-row errors carry the
    ``errors`` and ``links`` keys that the documents require and live answers leave out.
    ``json_scalars``: numbers and booleans instead of strings are taken. ``search_lag``: seconds until a
    write can be found by search. ``enforce_rules``: which dialect applies the account's own validation
    rules. ``first_error_only``: a whole-call 400 names the first bad row only. ``latency``: seconds
    added to each answer. ``companies_from_contacts``: the account makes a company of a new contact's domain
    where it has none. ``unreadable``: emails and ids for which a batch read is refused. ``property_lag``:
    seconds until the list of properties shows a new one. ``longest_address``: characters of an address;
    what is longer is a 414. ``custom_objects``: names of objects of the account's own, besides deals.
    """

    update_invalid: RowOrCall = "whole_call"
    upsert_conflict: RowOrCall = "whole_call"
    email_upsert_partial: bool = True
    update_by_email: bool = False
    partial_status: Literal["207", "declared"] = "207"
    duplicate_reads: Literal["refuse", "dedupe"] = "refuse"
    full_errors: bool = True
    first_error_only: bool = True
    json_scalars: bool = False
    shuffle: bool = True
    email_has_unique_value: bool = True
    search_lag: float = 2.0
    search_matches_additional: bool = True
    enforce_rules: Literal["dated", "always", "never"] = "dated"
    retry_after: bool = False
    latency: float = 0.0
    versions: tuple[str, ...] = ("2025-09", "2026-03", "2026-09")
    max_inputs: int = 100
    max_custom_properties: int = 1000
    companies_from_contacts: bool = False
    unreadable: frozenset[str] = frozenset()
    property_lag: float = 0.0
    longest_address: int = 8_000
    custom_objects: tuple[str, ...] = ()
