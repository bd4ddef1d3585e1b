"""Whether a text names somebody of whom no more is known than hashes of ids, and what is left of it without them.

An id is looked for as it is, with all its characters, and in the forms in which texts carry it: escaped as JSON (also
JSON in a string of JSON), URL-encoded, quoted as CSV. It must not be part of a longer word: `ann` is not named by `anna`
or `ann-marie`, which may be another's id. What the ids are is not known here: only how long they are, and how to
recognise one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from .values import domain_key

# Between words. A colon between digits is a time's; a full stop ends a word only at its end, or before a file's ending.
_MARKS = r"""\s,;:{}\[\]"'=&?/|()<>\\#!*$^`~"""
_MARK = re.compile(
    rf"(?<=\d):(?=\d)|([{_MARKS}])|(\.)(?=(?:(?:json|xml|csv|html?|pdf|txt))?(?:[{_MARKS}]|$))"
)
_WORD = re.compile(rf"[^{_MARKS}]+")
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?', re.DOTALL)
_ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_DEPTH, _MOST_FORMS = 3, 16
# A value that others wrote goes for a name that says something: not for each one that has the word "a" in it.
_SHORTEST_IN_VALUES = 4


@dataclass(frozen=True)
class Mentions:
    """lengths: of the ids, in characters. knows: whether a text is one. words: ids of any length, without marks in them,
    are looked for, too. domains: domains are looked for by their match key."""

    lengths: Collection[int]
    knows: Callable[[str], bool]
    words: bool = False
    domains: bool = False

    def __bool__(self) -> bool:
        return bool(self.lengths) or self.words

    def in_text(self, text: str, shortest: int = 1) -> bool:
        """Whether a text names one of them, in whatever form."""
        return any(self._in_form(form, shortest) for form in _forms(text))

    def without_in_path(self, path: str) -> str:
        """A path, with `:id` in the place of segments that name one."""
        if not self.in_text(path):
            return path
        left = "/".join(":id" if part and self.in_text(part) else part for part in path.split("/"))
        return "/:id" if self.in_text(left) else left  # an id may have slashes

    def without_in_values(self, text: str) -> str:
        """JSON text, with null in the place of strings that name one, and `***` in that of keys. All else stays as it is."""

        def left(match: re.Match[str]) -> str:
            if not self.in_text(match[1][1:-1], _SHORTEST_IN_VALUES):
                return match[0]
            return "null" if match[2] is None else f'"***"{match[2]}'

        return _QUOTED.sub(left, text)

    def _in_form(self, text: str, shortest: int) -> bool:
        ends = {0, len(text)}
        for match in _MARK.finditer(text):
            if match[1]:
                ends |= {match.start(), match.end()}
            elif match[2]:
                ends.add(match.start())
        starts = sorted(ends)
        for length in self.lengths:
            if shortest <= length <= len(text):
                for start in starts:
                    if start + length in ends and self._is_one(text[start : start + length]):
                        return True
        if self.words or self.domains:
            for match in _WORD.finditer(text):
                word = match[0]
                if len(word) < shortest:
                    continue
                if self.words and (self._is_one(word) or self._is_one(word.rstrip("."))):
                    return True
                if self.domains and "." in word and "@" not in word and self.knows(domain_key(word) or ""):
                    return True
        return False

    def _is_one(self, text: str) -> bool:
        # Emails and domains are known in small letters.
        return self.knows(text) or ("." in text and (small := text.lower()) != text and self.knows(small))


def forms_of(name: str) -> set[bytes]:
    """The bytes by which files hold a name: as it is, escaped as JSON, URL-encoded, quoted as CSV."""
    escaped = (json.dumps(name, ensure_ascii=ascii)[1:-1] for ascii in (True, False))
    encoded = quote(name, safe=""), quote(name), quote_plus(name)
    return {
        form.encode("utf-8", "surrogatepass") for form in (name, *escaped, *encoded, name.replace('"', '""'))
    }


def _forms(text: str) -> Iterator[str]:
    """A text as it is, and decoded in each way that changes it, one in another up to three deep."""
    found, latest = [text], [text]
    yield text
    for _ in range(_DEPTH):
        new = []
        for one in latest:
            for decode in (_from_json, unquote, unquote_plus, _from_csv):
                decoded = decode(one)
                if decoded not in found and len(found) < _MOST_FORMS:
                    found.append(decoded)
                    new.append(decoded)
                    yield decoded
        latest = new


def _from_json(text: str) -> str:
    if "\\" not in text:
        return text
    decoded = _ESCAPED.sub(
        lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 5 else _PLAIN_ESCAPES.get(m[1], m[1]), text
    )
    # Pairs of surrogates are one character; a lone one is kept as U+FFFD in ids, too.
    return decoded.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _from_csv(text: str) -> str:
    return text.replace('""', '"')
