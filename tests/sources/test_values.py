"""The value rules that all sources share."""

from __future__ import annotations

import pytest

from dagster_project.readers.values import domain_key


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
        ("ü" * 64 + ".example", "ü" * 64 + ".example"),
        ("https://www./", None),
        ("https://", None),
        (" ", None),
        (5, None),
    ],
)
def test_a_domains_match_key_is_its_bare_ascii_host_name(given: object, key: str | None) -> None:
    assert domain_key(given) == key
