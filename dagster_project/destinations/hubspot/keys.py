"""By what a record is found in HubSpot: a company by its domain, a contact by its email, or an own unique property."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dagster_project.readers.values import domain_key, email_key
from dagster_project.settings import HubspotSettings

from .api import KEYS, MORE_KEYS, OBJECTS


@dataclass(frozen=True)
class Key:
    """property: what holds the key; more: what holds further keys of the record.

    is_own: it is an own unique property, whose values are as they are. can_be_read: a batch read takes it.
    """

    object: str
    property: str
    more: str | None
    is_own: bool
    can_be_read: bool

    def of(self, text: Any) -> str | None:
        """A text as a key; None: it is none."""
        if self.is_own:
            return text if isinstance(text, str) and text.strip() else None
        return domain_key(text) if self.object == "companies" else email_key(text)


def key_for(object_type: str, match: str | None = None) -> Key:
    """match: the own property, where the settings name one."""
    if match is not None and match != KEYS[object_type]:
        return Key(object_type, match, None, is_own=True, can_be_read=True)
    can_be_read = object_type == "contacts"
    return Key(object_type, KEYS[object_type], MORE_KEYS[object_type], is_own=False, can_be_read=can_be_read)


def keys_of(options: HubspotSettings) -> Mapping[str, Key]:
    return {one: key_for(one, getattr(options, one).match) for one in OBJECTS}
