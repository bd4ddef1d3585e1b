"""The objects that are sent, and by what a record of each is found in HubSpot: a company by its domain, a contact by its
email, or any by an own unique property.

Companies and contacts are always there. Any other object (deals, an account's own) is a SELECT `hubspot_<object>.sql`
whose header says by which unique property it is matched:

    -- match: api_subscription_id
    -- object: 2-1234567        where HubSpot calls it otherwise than the file
    -- mode: update             upsert (default), update or create
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dagster_project.readers.values import domain_key, email_key
from dagster_project.settings import HubspotSettings

from .errors import HubspotError
from .files import outbound_file, outbound_objects

OBJECTS = ("companies", "contacts")
KEYS = {"companies": "domain", "contacts": "email"}
TYPE_IDS = {"companies": "0-2", "contacts": "0-1"}
MORE_KEYS = {"companies": "hs_additional_domains", "contacts": "hs_additional_emails"}
_IDS = {"companies": ("company_id",), "contacts": ("user_id",)}
_EITHER = ("company_id", "user_id")
_MODES = ("upsert", "update", "create")
_HEADER = re.compile(r"^--\s*(match|object|mode):\s*(\S+)\s*$", re.MULTILINE)
_NAME, _PROPERTY, _OBJECT = r"[a-z][a-z0-9_]*", r"[a-z][a-z0-9_]*", r"[\w-]+"


@dataclass(frozen=True)
class Key:
    """property: what holds the key; more: what holds further keys of the record.

    is_own: it is an own unique property, whose values are as they are. can_be_read: a batch read takes it. ids: columns of
    the SELECT that say whose a row is, the first that it has. path: the object as HubSpot's addresses name it.
    """

    object: str
    property: str
    more: str | None
    is_own: bool
    can_be_read: bool
    ids: tuple[str, ...]
    path: str
    mode: str = "upsert"

    def of(self, text: Any) -> str | None:
        """A text as a key; None: it is none."""
        if self.is_own:
            return text if isinstance(text, str) and text.strip() else None
        return domain_key(text) if self.object == "companies" else email_key(text)


def key_for(object_type: str, match: str | None = None, mode: str = "upsert") -> Key:
    """Of companies or contacts. match: the own property, where the settings name one."""
    ids = _IDS[object_type]
    if match is not None and match != KEYS[object_type]:
        return Key(object_type, match, None, True, True, ids, object_type, mode)
    can_be_read = object_type == "contacts"
    more = MORE_KEYS[object_type]
    return Key(object_type, KEYS[object_type], more, False, can_be_read, ids, object_type, mode)


def keys_of(options: HubspotSettings) -> Mapping[str, Key]:
    """The objects that are sent, in the order in which they are, each with its key. Raises HubspotError on a header that
    cannot be used."""
    keys = {one: key_for(one, getattr(options, one).match, getattr(options, one).mode) for one in OBJECTS}
    for name in outbound_objects():
        if name not in keys:
            keys[name] = _from_header(name)
    return keys


def _from_header(name: str) -> Key:
    file = outbound_file(name)
    said: dict[str, str] = dict(_HEADER.findall(file.read_text(encoding="utf-8")))
    where = f"sql/outbound/{file.name}"
    if not re.fullmatch(_NAME, name):
        raise HubspotError(f"{where}: the object's name may hold small letters, digits and _ only")
    if not re.fullmatch(_PROPERTY, said.get("match", "")):
        raise HubspotError(
            f"{where} does not say how its records are found: write a line `-- match: <unique property>`"
        )
    if said.get("mode", "upsert") not in _MODES:
        raise HubspotError(f"{where}: mode: {said['mode']} is none of {', '.join(_MODES)}")
    path = said.get("object", name)
    if not re.fullmatch(_OBJECT, path):
        raise HubspotError(f"{where}: object: {path} is no name of an object in HubSpot")
    return Key(name, said["match"], None, True, True, _EITHER, path, said.get("mode", "upsert"))
