"""Credentials out of what is kept: by the structure of a text where it has one, and with a heavy hand where it has none.

When in doubt, less is kept: a reject says where its record lies, so people can look at the file itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

HIDDEN = "***"
_MAX_BYTES = 64 * 1024
# What is looked at, of longer texts. The patterns are possessive: hostile text costs time in proportion to its size.
_MAX_CHARACTERS = 1024**2
_MOST_ENCODINGS = 4  # JSON in a string in JSON in a string …
_NAMES = (
    r"authori[sz]ation|cookie|api[-_ ]?key|(?:auth|access|refresh|security)[-_ ]?token|client[-_ ]?secret"
    r"|private[-_ ]?key|passw(?:or)?d"
)
# Columns and keys that hold a credential, under any prefix, with `-` for `_` and blanks.
_CREDENTIAL = re.compile(
    r"(?:^|-)(?:authorization|cookies?|set-cookie2?|x-?api-?key|api-?key|(?:auth|access|refresh|security)-?token|"
    r"client-?secret|private-?key|passwo?r?d)$"
)
# Of these one is in every text that may have to be changed: a look that costs little.
_SIGNS = (
    "authori", "cookie", "key", "auth", "access", "refresh", "security", "secret", "passw",
    "bearer", "basic", "\\u00", "://", "//", "?", "#",
)  # fmt: skip
_ADDRESS = re.compile(r"//[^/\s\"'<>?#@]*+@")
_QUERY = re.compile(r"([?#])[^\s\"'<>?#=]*+=[^\s\"'<>]*+")
_SCHEME = re.compile(
    r"\b(bearer|negotiate|digest|aws4-hmac-sha256)\s++(?!\*)[^\s\"',;]++(?:\s*,[^\"'\r\n]*+)?"
    r"|\b(basic)\s++(?=[a-z+/_-]*+[A-Z0-9=])[A-Za-z0-9+/=_-]{6,}+",
    re.IGNORECASE,
)
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},:]|\s++|[^"\[\]{},:\s]++', re.DOTALL)
_LITERAL = re.compile(r"-?\d[\d.eE+-]*+|null|true|false|NaN|-?Infinity|nul?|tr?u?|fa?l?s?|n|t|f|N|I|-")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
# Members that name another one's value, and such values.
_DIVIDES = re.compile(r"[\"'<>=:,|;{}\[\]\t]")
_NAMING = frozenset(
    {"name", "key", "header", "headername", "k", "n", "field", "attribute", "param", "parameter"}
)
_VALUES = frozenset({"value", "values", "val", "v", "content", "contents", "data", "text", "rows", "raw"})
# Headers that tell of other headers by their names.
_TELLING = re.compile(r"access-control|vary|connection|trailer")


class _Secrets:
    """What credentials are called. tokens: those that stand for a person are meant, too."""

    def __init__(self, names: str) -> None:
        # Before a value: in quotes or none, then what divides the two.
        self.named = re.compile(names, re.IGNORECASE)
        self.valued = re.compile(rf"(?:{names})[\w-]*+[\"'\\\s\]]*+[:=>,|;\t]", re.IGNORECASE)
        # A cell of a row that is nothing but a name.
        self.cell = re.compile(
            rf"(?:^|[,;\t|])[\s\"]*+[\w-]*?(?:{names})[\w-]*+[\s\"]*+(?:$|[,;\t|])", re.IGNORECASE
        )
        self.name = re.compile(rf"[\w.-]*?(?:{names})[\w-]*+", re.IGNORECASE)


_CREDENTIALS = _Secrets(_NAMES)
_CREDENTIALS_AND_TOKENS = _Secrets(f"{_NAMES}|session[-_ ]?token")


def is_credential(name: str) -> bool:
    """Whether a header, key or column of this name holds a credential: under any prefix, in any spelling."""
    return _CREDENTIAL.search(re.sub(r"[\s_.-]+", "-", name.strip()).lower()) is not None


def names_credential(text: str) -> bool:
    """Whether a text that was kept is about a credential, whose value may stand on another line."""
    return text == HIDDEN or _CREDENTIALS.named.search(_unescaped(text)) is not None


def without_credentials(value: Any, hidden: list[str], path: str = "") -> Any:
    """A JSON value without credentials: what keys of such names hold, and pairs of a name and a value.

    hidden: is told where they were.
    """
    if isinstance(value, dict):
        naming = any(
            isinstance(v, str) and k.lower() in _NAMING and is_credential(v) for k, v in value.items()
        )
        result: dict[str, Any] = {}
        for key, inner in value.items():
            where = f"{path}.{key}" if path else key
            if inner is None or isinstance(inner, bool):
                result[key] = inner
            elif is_credential(key) or (naming and key.lower() in _VALUES):
                hidden.append(where)
                result[key] = HIDDEN
            else:
                result[key] = without_credentials(inner, hidden, where)
        return result
    if isinstance(value, list):
        items: list[Any] = []
        for index, inner in enumerate(value):
            where = f"{path}[{index}]"
            before = value[index - 1] if index else None
            if isinstance(before, str) and isinstance(inner, str | list) and is_credential(before):
                hidden.append(where)
                items.append(HIDDEN)
            else:
                items.append(without_credentials(inner, hidden, where))
        return items
    return value


def may_hold_credentials(text: str) -> bool:
    """Whether a JSON text has to be looked at: it costs little."""
    low = text.lower()
    return any(sign in low for sign in ("authori", "cookie", "key", "token", "secret", "passw"))


def redact(text: str, *, tokens: bool = False) -> str:
    """The text of a record with the values of credentials replaced by `***`, cut to 64 KiB.

    tokens: those of `session_token`, too.
    """
    secrets = _CREDENTIALS_AND_TOKENS if tokens else _CREDENTIALS
    return _cut(_clean(text[:_MAX_CHARACTERS], secrets, 0))


def redact_words(text: str, *, tokens: bool = False) -> str:
    """As `redact`, for a message or a cell: a credential's name alone is no credential there."""
    secrets = _CREDENTIALS_AND_TOKENS if tokens else _CREDENTIALS
    return _cut(_clean(text[:_MAX_CHARACTERS], secrets, 0, is_message=True))


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:_MAX_BYTES].decode("utf-8", "ignore")


def _clean(text: str, secrets: _Secrets, encodings: int, *, is_message: bool = False) -> str:
    low = text.lower()
    if not any(sign in low for sign in _SIGNS) and not (
        secrets is _CREDENTIALS_AND_TOKENS and "session" in low
    ):
        return text
    if encodings > _MOST_ENCODINGS:
        return HIDDEN
    if text.lstrip()[:1] in ("{", "[", '"'):
        clean = _Walk(secrets, encodings).clean(text)
        if clean is not None:
            return clean
    return _clean_words(text, secrets, encodings, is_message)


def _clean_words(text: str, secrets: _Secrets, encodings: int, is_message: bool) -> str:
    """Text that is no JSON: a log line, XML, a form, an address. Words alone, or a message, may name a credential."""
    plain = _unescaped(text)
    if secrets.named.search(plain) and (
        (secrets.valued.search(plain) or secrets.cell.search(plain) or "<" in plain)
        if is_message
        else (encodings == 0 or _DIVIDES.search(plain))
    ):
        return HIDDEN
    text = _ADDRESS.sub(f"//{HIDDEN}@", text)
    text = _QUERY.sub(rf"\1{HIDDEN}", text)
    return _SCHEME.sub(lambda match: f"{match[1] or match[2]} {HIDDEN}", text)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "\\u" in text else text


@dataclass
class _Container:
    """An object or an array that is being walked through.

    hides: all in it is a credential's. names: one of its members names a credential (`{"name": "Cookie", …}`); hints:
    so does one that may mean something else. members: keys, and from where to where their values stand in the output.
    """

    is_object: bool
    hides: bool = False
    key: str | None = None
    expects_key: bool = True
    hides_next: bool = False
    names: bool = False
    hints: bool = False
    start: int = 0
    members: list[tuple[str, int, int]] = field(default_factory=list)


class _Walk:
    """Through a text that is JSON, or was meant as such: it may be cut off, or only a piece."""

    def __init__(self, secrets: _Secrets, encodings: int) -> None:
        self.secrets, self.encodings = secrets, encodings
        self.out: list[str] = []
        self.stack = [_Container(is_object=True)]

    def clean(self, text: str) -> str | None:
        """The text without credentials; None where it is no JSON and names some."""
        broken = False
        for token in _TOKEN.findall(text):
            here = self.stack[-1]
            if token.isspace():
                self.out.append(token)
            elif token[0] == '"':
                self._string(token, here)
            elif token in "{[":
                self.stack.append(
                    _Container(token == "{", hides=here.hides or self._hides_value(here), start=len(self.out))
                )
                self.out.append(token)
            elif token in "}]":
                self._close(token)
            elif token == ":":
                here.expects_key = here.hides_next = False
                self.out.append(token)
            elif token == ",":
                here.expects_key, here.key = True, None
                self.out.append(token)
            else:
                broken = broken or not _LITERAL.fullmatch(token)
                self._literal(token, here)
        while len(self.stack) > 1:
            self._close("")
        self._hide_named(self.stack[0])
        if broken and self.secrets.named.search(_unescaped(text)):
            return None
        return "".join(self.out)

    def _hides_value(self, here: _Container) -> bool:
        if here.is_object and not here.expects_key:
            return here.key is not None and self._is_secret(here.key)
        return here.hides_next

    def _is_secret(self, key: str) -> bool:
        return self.secrets.named.search(key) is not None and not _TELLING.search(key.lower())

    def _string(self, token: str, here: _Container) -> None:
        text = _content(token)
        if here.is_object and here.expects_key:
            if here.hides_next:
                self.out.append(f'"{HIDDEN}"')
                here.hides_next = False
                return
            here.key = text
            # A piece of an array, perhaps: the name and then the value.
            here.hides_next = self._is_name(text)
            self.out.append(token if self._is_name(text) else self._inner(token, text))
            return
        if here.hides or self._hides_value(here):
            self._value(here, f'"{HIDDEN}"')
            here.hides_next = False
            return
        here.hides_next = not here.is_object and self._is_name(text)
        if self._is_name(text):
            if here.is_object:
                self._note_name(here)
            elif len(self.stack) > 1:
                self.stack[-2].hints = True
        self._value(here, self._inner(token, text))

    def _note_name(self, here: _Container) -> None:
        key = re.sub(r"[\W_]", "", here.key or "").lower()
        if _TELLING.search((here.key or "").lower()):
            return
        if key in _NAMING:
            here.names, here.key = True, None  # its own value stays
        else:
            here.hints = True

    def _literal(self, token: str, here: _Container) -> None:
        if here.hides or self._hides_value(here):
            is_count = here.key is not None and here.key.lower() == "cookies" and not here.hides
            if token not in ("null", "true", "false") and not is_count:
                token = f'"{HIDDEN}"'
        here.hides_next = False
        self._value(here, token)

    def _value(self, here: _Container, text: str) -> None:
        here.members.append((here.key or "", len(self.out), len(self.out) + 1))
        self.out.append(text)

    def _inner(self, token: str, text: str) -> str:
        """A string of the text, itself without credentials."""
        clean = _clean(text, self.secrets, self.encodings + 1)
        return token if clean == text else json.dumps(clean, ensure_ascii=False)

    def _close(self, token: str) -> None:
        if len(self.stack) == 1:
            self.out.append(token)
            return
        closed = self.stack.pop()
        self.out.append(token)
        self._hide_named(closed)
        parent = self.stack[-1]
        parent.hints = parent.hints or closed.names
        parent.members.append((parent.key or "", closed.start, len(self.out)))
        parent.hides_next = False

    def _hide_named(self, closed: _Container) -> None:
        for key, start, end in closed.members:
            is_value = re.sub(r"[\W_]", "", key).lower() in _VALUES
            if (closed.names and key) or (closed.hints and is_value):
                self.out[start] = f'"{HIDDEN}"'
                for index in range(start + 1, end):
                    self.out[index] = ""

    def _is_name(self, text: str) -> bool:
        """Whether it is nothing but a credential's name, as bytes are written in Python, too."""
        name = text.strip()
        name = name[2:-1] if name[:2] in ("b'", 'b"') else name
        return len(name) < 100 and self.secrets.name.fullmatch(name) is not None


def _content(token: str) -> str:
    try:
        text = json.loads(token, strict=False)
    except ValueError:
        text = _unescaped(token[1:].removesuffix('"'))
    return str(text)
