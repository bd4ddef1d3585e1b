"""HubSpot exports: CSV, XLSX and ZIP."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

from .companies import (
    CRM_ONLY,
    CRM_TWIN,
    INTEGER_ID,
    NEVER_CALLED,
    QUOTA_NEAR,
    RATE_LIMITED,
    SAMPLED,
    Company,
)

CRM_COMPANY_HEADER = (
    "Record ID", "Company name", "Company Domain Name", "Company owner", "Create Date", "Phone Number",
    "City", "Country/Region", "Industry", "Notes",
)  # fmt: skip
CRM_CONTACT_NAMES = (
    "hs_object_id",
    "firstname",
    "lastname",
    "email",
    "phone",
    "lifecyclestage",
    "createdate",
)
CRM_CONTACT_LABELS = (
    "Record ID", "First Name", "Last Name", "Email", "Phone Number", "Lifecycle Stage", "Create Date"
)  # fmt: skip


def crm_company_row(
    number: int, name: str, domain: str, company: Company | None, notes: str = ""
) -> list[str]:
    city, country, industry = (
        (company.city, company.country, company.industry) if company is not None else ("", "", "")
    )
    owner = ("Casey Sample", "Robin Sample", "")[number % 3]
    created = f"2026-0{1 + number % 9}-1{number % 10} 10:0{number % 10}"
    phone = f" +120255501{number % 100:02d}"
    return [
        str(210_000_000_000 + number),
        name,
        domain,
        owner,
        created,
        phone,
        city,
        country,
        industry,
        notes,
    ]


def crm_company_rows(companies: Sequence[Company]) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of the CSV and of the XLSX export. What is in the second repeats one of the first, changed."""
    first: list[list[str]] = []
    second: list[list[str]] = []
    for number, company in enumerate(companies, start=1):
        if company.id in (INTEGER_ID, SAMPLED):
            second.append(crm_company_row(number, company.name, company.domain, company))
        elif company.id == CRM_TWIN:
            first.append(crm_company_row(number, company.name, company.domain, company))
            first.append(crm_company_row(90, "Wrenloft (old)", f"www.{company.domain}", company))
        elif company.id != NEVER_CALLED:
            notes = 'Asked for a call\nin January, "not before"' if company.id == RATE_LIMITED else ""
            first.append(crm_company_row(number, company.name, company.domain, company, notes))
    for number, name in enumerate(CRM_ONLY, start=91):
        row = crm_company_row(number, name, f"{name.split()[0].lower()}.example", None)
        (second if name == CRM_ONLY[-1] else first).append(row)
    near = next(c for c in companies if c.id == QUOTA_NEAR)
    second.append(crm_company_row(1, f"{near.name} GmbH", near.domain, near, "renamed"))
    return first, second


def crm_contact_rows(companies: Sequence[Company]) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of the CSV and of the ZIP export: two in three of the users, and a contact without email."""
    rows = []
    for number, user in enumerate((u for c in companies for u in c.users), start=1):
        if number % 3 == 0:
            continue
        email = user.email.upper() if number % 10 == 1 else user.email
        stage = ("lead", "customer", "opportunity")[number % 3]
        identity = [str(110_000_000_000 + number), user.first_name, user.last_name, email]
        rows.append([*identity, user.phone, stage, f"2026-0{1 + number % 9}-20 09:00"])
    rows.append(["110000009001", "Sample,", "Cameron", "", "", "lead", "2026-01-12 10:00"])
    half = len(rows) // 2
    return rows[:half], rows[half:]


def zip_bytes(members: Sequence[tuple[str, bytes]]) -> bytes:
    """A ZIP whose bytes do not depend on the clock or the machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def xlsx_bytes(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """A workbook of one sheet, by hand: openpyxl puts the time of writing into it.

    The first column is a number, as in a spreadsheet that HubSpot exports; all others are text.
    """
    sheet = []
    for n, row in enumerate((header, *rows), start=1):
        cells = []
        for column, value in enumerate(row):
            place = f"{chr(ord('A') + column)}{n}"
            if column == 0 and n > 1 and value:
                cells.append(f'<c r="{place}"><v>{value}</v></c>')
            elif value:
                text = f'<is><t xml:space="preserve">{escape(value)}</t></is>'
                cells.append(f'<c r="{place}" t="inlineStr">{text}</c>')
        sheet.append(f'<row r="{n}">{"".join(cells)}</row>')
    start = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Companies" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(sheet)}</sheetData>'
        "</worksheet>",
    }
    return zip_bytes([(name, (start + text).encode()) for name, text in parts.items()])
