"""The value rules that all sources share."""

from __future__ import annotations

from datetime import datetime

import pytest

from dagster_project.readers.values import domain_key, email_key, id_of, time_of

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("HTTPS://User:p@ss@WWW.Acme.COM:8443/path?x#y", "acme.com"),
        (" www.acme.com. ", "acme.com"),
        ("//acme.com?x", "acme.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        # Dots and letters that are ASCII only after IDNA
        ("WWW。Bücher。example。", "xn--bcher-kva.example"),
        ("ｗｗｗ．ＡＣＭＥ．com", "acme.com"),
        # What IDNA of 2008 does not know, and that of 2003 does
        ("☃.example", "xn--n3h.example"),
        ("a_b.bücher.example", "a_b.xn--bcher-kva.example"),
        ("ü" * 64 + ".example", None),
        ("https://www./", None),
        ("https://", None),
        # What stands for none, or names no host
        ("N/A", None),
        ("-", None),
        ("unknown", None),
        ("localhost", None),
        ("http:/acme.com", None),
        ("10.0.0.1", None),
        ("acme.c", None),
        ("acme.com2", "acme.com2"),
        ("acme..com", None),
        ("acme.com..", None),
        ("acme .com", None),
        ("acme.com, beta.io", None),
        ("-acme.com", None),
        ("my_shop.acme.com", "my_shop.acme.com"),
        ("xn--p1ai.xn--p1ai", "xn--p1ai.xn--p1ai"),
        ("www.com", None),
        (" ", None),
        (5, None),
    ],
)
def test_a_domains_match_key_is_its_bare_ascii_host_name(given: object, key: str | None) -> None:
    assert domain_key(given) == key


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (" Ann@ACME.com ", "ann@acme.com"),
        ("ann+x@bücher.example", "ann+x@bücher.example"),
        ("@acme.com", None),
        ("ann@", None),
        ("ann", None),
        ("ann@localhost", None),
        ("ann@@acme.com", None),
        ("ann@b@acme.com", None),
        ("ann b@acme.com", None),
        ("Ann <ann@acme.com>", None),
        ("ann@acme.com,bob@acme.com", None),
        ("n/a", None),
        ("", None),
        (5, None),
    ],
)
def test_an_emails_match_key_has_a_name_and_a_host(given: object, key: str | None) -> None:
    assert email_key(given) == key


@pytest.mark.parametrize(
    ("given", "time"),
    [
        ("2026-11-26 10:00:00 UTC", "2026-11-26T10:00"),
        ("2026-11-26t10:00z", "2026-11-26T10:00"),
        ("2026-11-26T10:00:00,1234569-01", "2026-11-26T11:00:00.123456"),
        ("2026-11-26T10:00:00.5+0530", "2026-11-26T04:30:00.5"),
        ("2026-11-26", "2026-11-26T00:00"),
        (1795687200, "2026-11-26T10:00"),
        (1795687200.1234567, "2026-11-26T10:00:00.123456"),
        (1795687200123, "2026-11-26T10:00:00.123"),
        (1795687200123.4567, "2026-11-26T10:00:00.123456"),
        (99999999999, "5138-11-16T09:46:39"),
        (631152000, "1990-01-01T00:00"),
        ("1990-01-01T00:00+00:01", None),
        (631151999, None),
        (10**11, None),  # milliseconds of 1973
        (0, None),
        (-1, None),
        (1795687200123456, None),  # microseconds are no unit of ours
        (10**400, None),
        (True, None),
        ("1795687200", None),
        ("2026-11-26T10:00:00  UTC", None),
        ("2026-11-26T10:00:00UTC", None),
        ("2026-11-26 UTC", None),
        ("2026-11-26T10:00:00;5", None),
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00Z", None),
        ("1989-12-31T23:59:59.999999Z", None),
    ],
)
def test_times_are_read_in_every_form_that_is_understood(given: object, time: str | None) -> None:
    assert time_of(given) == (time and datetime.fromisoformat(time))


@pytest.mark.parametrize(
    ("given", "found"),
    [(42.0, "42"), (-0.0, "0"), (1e3, "1000"), (1.5, None), (True, None), (7, "7"), ("42.0", "42.0"), (" a", " a"), (" ", None)],
)  # fmt: skip
def test_an_id_is_text_or_a_whole_number(given: object, found: str | None) -> None:
    assert id_of(given) == found
