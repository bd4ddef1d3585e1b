"""The properties that an account has from the start, of each object type. A choice of what HubSpot defines."""

from __future__ import annotations

from typing import Any

from .errors import Json
from .options import Options
from .schema import Group, Property, Schema, as_options


def _choice(*pairs: tuple[str, str]) -> list[Json]:
    return as_options([{"value": value, "label": label} for value, label in pairs])


_STAGES = _choice(
    ("subscriber", "Subscriber"),
    ("lead", "Lead"),
    ("marketingqualifiedlead", "Marketing Qualified Lead"),
    ("salesqualifiedlead", "Sales Qualified Lead"),
    ("opportunity", "Opportunity"),
    ("customer", "Customer"),
    ("evangelist", "Evangelist"),
    ("other", "Other"),
)
_YES_NO = _choice(("true", "Yes"), ("false", "No"))


def _own(group: str, *rows: tuple[str, str, str, str], **more: Any) -> list[Property]:
    return [
        Property(name, label, kind, field_type, group, hubspot_defined=True, **more)
        for name, label, kind, field_type in rows
    ]


def _common(group: str, modified: str) -> list[Property]:
    """What both object types have: read-only facts of the record, the owner, and the unwritable kinds."""
    return [
        *_own(
            group,
            ("hs_object_id", "Record ID", "number", "number"),
            ("createdate", "Create Date", "datetime", "date"),
            (modified, "Last Modified Date", "datetime", "date"),
            ("hs_merged_object_ids", "Merged record IDs", "enumeration", "checkbox"),
            read_only_value=True,
            external_options=False,
        ),
        *_own(group, ("hubspot_owner_id", "Owner", "enumeration", "select"), external_options=True),
        *_own(
            group,
            ("hs_all_owner_ids", "All owner IDs", "enumeration", "checkbox"),
            external_options=True,
            read_only_value=True,
        ),
        *_own(group, ("lifecyclestage", "Lifecycle Stage", "enumeration", "radio"), options=_STAGES),
        *_own(
            group,
            ("hs_location", "Location (emulator's example)", "object_coordinates", "text"),
            ("hs_raw_details", "Raw details (emulator's example)", "json", "text"),
            hidden=True,
        ),
    ]


def contact_schema(options: Options, now: int) -> Schema:
    group = "contactinformation"
    properties = [
        *_own(
            group,
            ("email", "Email", "string", "text"),
            unique=options.email_has_unique_value,
            form_field=True,
        ),
        *_own(
            group,
            ("hs_additional_emails", "Additional email addresses", "enumeration", "checkbox"),
            read_only_value=True,
        ),
        *_own(
            group,
            ("firstname", "First Name", "string", "text"),
            ("lastname", "Last Name", "string", "text"),
            ("phone", "Phone Number", "string", "phonenumber"),
            ("mobilephone", "Mobile Phone Number", "string", "phonenumber"),
            ("company", "Company Name", "string", "text"),
            ("jobtitle", "Job Title", "string", "text"),
            ("website", "Website URL", "string", "text"),
            ("city", "City", "string", "text"),
            ("country", "Country/Region", "string", "text"),
            ("message", "Message", "string", "textarea"),
            ("closedate", "Close Date", "datetime", "date"),
            form_field=True,
        ),
        *_own(
            group,
            ("hs_lead_status", "Lead Status", "enumeration", "radio"),
            options=_choice(
                ("NEW", "New"),
                ("OPEN", "Open"),
                ("IN_PROGRESS", "In Progress"),
                ("CONNECTED", "Connected"),
                ("UNQUALIFIED", "Unqualified"),
            ),
        ),
        *_own(group, ("hs_email_domain", "Email Domain", "string", "text"), calculated=True),
        *_own(
            group,
            ("hs_email_optout", "Unsubscribed from all email", "bool", "booleancheckbox"),
            options=_YES_NO,
            read_only_value=True,
        ),
        *_common(group, "lastmodifieddate"),
    ]
    groups = [Group(group, "Contact information", 0), Group("emailinformation", "Email information", 1)]
    return Schema(options, groups, properties, now)


def company_schema(options: Options, now: int) -> Schema:
    group = "companyinformation"
    properties = [
        *_own(
            group,
            ("domain", "Company Domain Name", "string", "text"),
            ("name", "Company name", "string", "text"),
        ),
        *_own(
            group,
            ("hs_additional_domains", "Additional Domains", "enumeration", "checkbox"),
            read_only_value=True,
        ),
        *_own(
            group,
            ("phone", "Phone Number", "string", "phonenumber"),
            ("website", "Website URL", "string", "text"),
            ("description", "Description", "string", "textarea"),
            ("city", "City", "string", "text"),
            ("country", "Country/Region", "string", "text"),
            ("numberofemployees", "Number of Employees", "number", "number"),
            ("annualrevenue", "Annual Revenue", "number", "number"),
            ("closedate", "Close Date", "datetime", "date"),
        ),
        *_own(group, ("is_public", "Is Public", "bool", "booleancheckbox"), options=_YES_NO),
        *_own(
            group,
            ("type", "Type", "enumeration", "select"),
            options=_choice(
                ("PROSPECT", "Prospect"),
                ("PARTNER", "Partner"),
                ("RESELLER", "Reseller"),
                ("VENDOR", "Vendor"),
                ("OTHER", "Other"),
            ),
        ),
        *_own(
            group,
            ("num_associated_contacts", "Number of Associated Contacts", "number", "number"),
            calculated=True,
        ),
        *_common(group, "hs_lastmodifieddate"),
    ]
    return Schema(options, [Group(group, "Company information", 0)], properties, now)


def deal_schema(options: Options, now: int) -> Schema:
    group = "dealinformation"
    properties = [
        *_own(
            group,
            ("dealname", "Deal Name", "string", "text"),
            ("amount", "Amount", "number", "number"),
            ("closedate", "Close Date", "datetime", "date"),
        ),
        *_own(
            group,
            ("pipeline", "Pipeline", "enumeration", "select"),
            options=_choice(("default", "Sales Pipeline")),
        ),
        *_own(
            group,
            ("dealstage", "Deal Stage", "enumeration", "radio"),
            options=_choice(
                ("appointmentscheduled", "Appointment Scheduled"),
                ("contractsent", "Contract Sent"),
                ("closedwon", "Closed Won"),
                ("closedlost", "Closed Lost"),
            ),
        ),
        *_common(group, "hs_lastmodifieddate"),
    ]
    return Schema(options, [Group(group, "Deal information", 0)], properties, now)


def custom_schema(options: Options, name: str, now: int) -> Schema:
    """Of an object that the account has made itself."""
    group = f"{name}_information"
    properties = _common(group, "hs_lastmodifieddate")
    return Schema(options, [Group(group, f"{name} information", 0)], properties, now)
