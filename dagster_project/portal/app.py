"""Addresses to pages, and pages to answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import duckdb
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from dagster_project.settings import Settings
from dagster_project.warehouse.database import DatabaseError

from . import (
    alerts,
    cohorts,
    exports,
    features,
    freshness,
    hubspot,
    meters,
    overview,
    people,
    plain,
    profile,
    quality,
    retention,
    show,
    views,
)
from .access import Guard, Rules
from .asking import Answer, Ask, Csv, Moved, NotHere, WrongAddress
from .entities import COMPANY, USER
from .exports import Download
from .published import Published, Rows

PAGES: dict[str, Callable[[Ask], Answer]] = {
    "/": overview.page,
    "/companies": partial(people.listing, entity=COMPANY),
    "/companies.csv": partial(people.download, entity=COMPANY),
    "/company": partial(profile.page, entity=COMPANY),
    "/users": partial(people.listing, entity=USER),
    "/users.csv": partial(people.download, entity=USER),
    "/user": partial(profile.page, entity=USER),
    "/cohorts": cohorts.page,
    "/cohorts/changes": cohorts.CHANGES.answer,
    "/cohorts/notifications": cohorts.NOTIFICATIONS.answer,
    "/alerts": alerts.ALERTS.answer,
    "/meters": meters.METERS.answer,
    "/meters/adjustments": meters.ADJUSTMENTS.answer,
    "/retention": retention.page,
    "/features": features.page,
    "/feature": features.one,
    "/quality": quality.page,
    **{f"/quality/{name}": listing.answer for name, listing in quality.LISTINGS.items()},
    "/views": views.page,
    "/hubspot": hubspot.page,
    "/hubspot/pending": hubspot.pending,
    **{f"/hubspot/{name}": listing.answer for name, listing in hubspot.LISTINGS.items()},
}


def _in_form(address: str, form: str) -> str:
    """An address with the ending that says for whom the answer is."""
    path, mark, query = address.partition("?")
    return address if form == "html" else f"{'/overview' if path == '/' else path}.{form}{mark}{query}"


class Portal:
    """The pages on one warehouse."""

    def __init__(self, settings: Settings) -> None:
        self.published = Published(settings)
        self.downloads = Published(settings, memory=exports.MEMORY)
        self._templates = show.environment()

    def answer(self, make: Callable[[Ask], Answer], request: Request, path: str, form: str) -> Response:
        """Runs in a thread of its own, so that one long query keeps nobody else waiting."""
        stack = ExitStack()
        try:
            rows = Rows(stack.enter_context(self.published.cursor()))
            ask = Ask(path, request.query_params.multi_items(), rows, self.published, form)
            answer = make(ask)
            if isinstance(answer, Csv):
                return Download(answer, self.downloads)
            if isinstance(answer, Moved):
                return RedirectResponse(_in_form(answer.address, form), 303)
            if form != "html" and answer.shows.get("problem"):
                raise WrongAddress(answer.shows["problem"])
            if form == "csv":
                if answer.main is None:
                    raise NotHere("This page has no table of its own; it has a .json.")
                names, found = plain.table(answer)
                return Download(
                    Csv(path.strip("/").replace("/", "_"), lambda _: iter([(names, found)])), self.downloads
                )
            if form == "json":
                return Response(
                    plain.as_json(answer, as_of=ask.as_of), media_type="application/json; charset=utf-8"
                )
            page = self._page(
                answer.template,
                ask.path,
                answer.title,
                here=ask.here,
                as_of=ask.as_of,
                fresh=freshness.of(self.published),
                **answer.shows,
            )
            status = 400 if answer.shows.get("problem") else 200
            return HTMLResponse(page, status)
        except WrongAddress as error:
            return self._message(request, 400, "This address cannot be right", str(error))
        except NotHere as error:
            return self._message(request, 404, "Not found", str(error))
        except DatabaseError as error:
            if self.published.identity() is None:
                return self._message(
                    request, 503, "Nothing is published yet", "Run `warehouse run` first, then reload."
                )
            return self._message(request, 503, "The published database cannot be opened", str(error))
        except duckdb.CatalogException as error:
            return self._message(
                request,
                503,
                "The published database is of another version",
                f"Run `warehouse run`, so that it is made anew. ({str(error).splitlines()[0]})",
            )
        finally:
            stack.close()

    def failure(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404:
            return self._message(request, status, "Not found", "There is no such page.")
        return self._message(
            request, status, "This page could not be made", f"{type(error).__name__}: {error}"
        )

    def _message(self, request: Request, status: int, title: str, text: str) -> Response:
        if request.url.path.endswith(".json"):
            return JSONResponse({"error": title, "text": text}, status)
        page = self._page("message.html", request.url.path, title, text=text, as_of=None, fresh=None)
        return HTMLResponse(page, status)

    def _page(self, template: str, path: str, title: str, **shows: Any) -> str:
        return self._templates.get_template(template).render(
            path=path, title=title, views=views.saved(), **shows
        )


def make_app(settings: Settings, *, password: str | None = None, names: set[str] | None = None) -> ASGIApp:
    """The portal as an ASGI application. names: host names that it answers to, beside this machine's own."""
    rules = Rules("The portal", frozenset(names or ()), frozenset(settings.portal.names), password)
    return Guard(make_pages(settings), rules)


def make_pages(settings: Settings) -> ASGIApp:
    """The portal's pages, for whoever gets so far."""
    portal = Portal(settings)

    def route(path: str, make: Callable[[Ask], Answer], form: str) -> Route:
        def endpoint(request: Request) -> Response:
            return portal.answer(make, request, path, form)

        return Route(_in_form(path, form), endpoint, methods=["GET"])

    return Starlette(
        routes=[
            *(
                route(path, make, form)
                for path, make in PAGES.items()
                for form in ("html", "json", "csv")
                # Lists of people have a CSV of their own.
                if form == "html" or not (path.endswith(".csv") or (form == "csv" and f"{path}.csv" in PAGES))
            ),
            Mount("/static", StaticFiles(directory=show.FOLDER / "static")),
        ],
        exception_handlers={HTTPException: portal.failure, 500: portal.failure},
    )
