"""Companies and users: the two kinds of profiles, and in what their tables differ."""

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
    search: tuple[str, ...]

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
    search=("company_id", "company_name", "company_domain"),
)
USER = Entity(
    name="user",
    plural="users",
    id="user_id",
    label="name",
    key="email",
    object="contacts",
    account="user_id",
    search=("user_id", "name", "first_name", "last_name", "email", "company_id"),
)
