"""Companies and users: the two kinds of profiles, in what their tables differ, and what comes first on their pages.

Which columns there are, what can be asked of them and how they look is said by the tables themselves (columns.py).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entity:
    """name as in marts.cohort_members; object as in ops.hubspot_*; key: the profile's match key."""

    name: str
    plural: str
    id: str
    label: str  # column with its name for people
    key: str
    object: str
    account: str  # its column in marts.daily_feature_totals
    shown: tuple[str, ...]  # columns that a list shows where its address names none; those that are there
    sort: str = "calls_30d"

    @property
    def profiles(self) -> str:
        return f"marts.{self.name}_profiles"

    @property
    def metadata(self) -> str:
        return f"marts.{self.name}_metadata"

    @property
    def usage(self) -> str:
        return f"marts.{self.name}_usage_daily"

    @property
    def aliases(self) -> str:
        return f"marts.{self.name}_aliases"


COMPANY = Entity(
    name="company",
    plural="companies",
    id="company_id",
    label="company_name",
    key="company_domain",
    object="companies",
    account="account_id",
    shown=(
        "company_domain",
        "calls_7d",
        "calls_30d",
        "calls_by_day",
        "errors_4xx",
        "errors_5xx",
        "users",
        "features_used_30d",
        "last_seen_at",
        "cohorts",
    ),
)
USER = Entity(
    name="user",
    plural="users",
    id="user_id",
    label="name",
    key="email",
    object="contacts",
    account="user_id",
    shown=(
        "email",
        "company_id",
        "calls_30d",
        "calls_by_day",
        "errors_4xx",
        "errors_5xx",
        "last_seen_at",
        "cohorts",
    ),
)
