"""HubSpot's error answers: one exception for a refused call, one value for a refused row of a batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

Json = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """One refused value: the code, a sentence, and the property's name."""

    code: str
    message: str
    name: str

    def detail(self) -> Json:
        return {"message": self.message, "code": self.code, "context": {"propertyName": [self.name]}}


class ApiError(Exception):
    """A whole call refused. ``body`` gets its ``correlationId`` when the answer is sent."""

    def __init__(
        self,
        status: int,
        category: str,
        message: str,
        *,
        sub_category: str | None = None,
        errors: list[Json] | None = None,
        context: dict[str, list[str]] | None = None,
        links: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"status": "error", "message": message, "category": category}
        for key, value in (("subCategory", sub_category), ("errors", errors), ("context", context)):
            if value:
                self.body[key] = value
        if links:
            self.body["links"] = links


@dataclass
class RowError:
    """One refused row. ``twin`` is the row of the same call that it collides with, if that is the reason."""

    status: int
    category: str
    message: str
    details: list[Json] = field(default_factory=list)
    context: dict[str, list[str]] = field(default_factory=dict)
    twin: int | None = None

    def as_call(self) -> ApiError:
        return ApiError(self.status, self.category, self.message, errors=self.details, context=self.context)

    def as_row(self, trace: str | None, full: bool) -> Json:
        context = dict(self.context)
        if trace is not None:
            context["objectWriteTraceId"] = [trace]
        row: Json = {
            "status": "error",
            "category": self.category,
            "message": self.message,
            "context": context,
        }
        if self.details or full:
            row["errors"] = self.details
        if full:
            row["links"] = {}
        return row


def invalid(problems: Iterable[Problem]) -> RowError:
    """Refused values; the message embeds them as JSON, the way HubSpot words it."""
    found = list(problems)
    listing = [{"isValid": False, "message": p.message, "error": p.code, "name": p.name} for p in found]
    return RowError(
        400,
        "VALIDATION_ERROR",
        f"Property values were not valid: {orjson.dumps(listing).decode()}",
        [p.detail() for p in found],
    )


def bad_request(message: str, **more: Any) -> ApiError:
    return ApiError(400, "VALIDATION_ERROR", message, **more)


def not_found(message: str) -> ApiError:
    return ApiError(404, "OBJECT_NOT_FOUND", message)
