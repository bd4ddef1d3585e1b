"""Models that Python computes: what a module behind `by:` must define, and how it is found."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dagster_project.settings import Settings

if TYPE_CHECKING:
    from .context import Build
    from .models import Model


@runtime_checkable
class PythonModel(Protocol):
    """The tables whose headers say `by:` this module: it defines one of these as MODEL.

    Every member must be there, so that one that is misspelt is not passed over.
    """

    @property
    def obeys(self) -> str | None:
        """The section of the settings on which the tables depend."""
        ...

    def reads(self) -> Mapping[str, str]:
        """Tables that it reads because users' files say so, besides `from:`; each with a file that names it."""
        ...

    def fingerprint(self) -> str:
        """What else the tables depend on, as text: the contents of users' files, say."""
        ...

    def build(self, work: Build) -> set[str]:
        """Bring the tables up to date. What is new since the last time is told by `work.since`.

        Returns the names of the tables that changed.
        """
        ...


class NotAModel(Exception):
    """A module that `by:` names cannot compute tables. Says what it lacks."""


def python_model(by: str) -> PythonModel:
    """The MODEL of a module, named from the package on: `models.cohorts`. Raises NotAModel."""
    name = f"dagster_project.{by}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise NotAModel(
            f"{by}: no such module. (A table that a destination writes has no `by:`, but `history: true`)"
        ) from error
    found = getattr(module, "MODEL", None)
    if found is None:
        raise NotAModel(f"{by}: defines no MODEL; see warehouse/python_models.py for what it must be")
    if not isinstance(found, PythonModel):
        members = ("obeys", "reads", "fingerprint", "build")
        lacking = ", ".join(member for member in members if not hasattr(found, member))
        raise NotAModel(f"{by}: MODEL lacks {lacking}; see warehouse/python_models.py for what it must have")
    if found.obeys is not None and found.obeys not in Settings.model_fields:
        raise NotAModel(f"{by}: obeys {found.obeys!r}: the settings have no such section")
    return found


def code_of(by: str, models: Mapping[str, Model], settings: Settings) -> str:
    """A hash of all on which its tables depend but what they read: its source, their headers, settings, users' files."""
    model = python_model(by)
    parts = [
        inspect.getsource(importlib.import_module(f"dagster_project.{by}")),
        *sorted(other.code for other in models.values() if other.by == by),
        model.fingerprint(),
    ]
    if model.obeys:
        parts.append(getattr(settings, model.obeys).model_dump_json())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
