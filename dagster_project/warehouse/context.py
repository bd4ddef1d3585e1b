"""One build, as those who compute tables see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from dagster_project.settings import Settings

from .database import Connection
from .engine import Engine, Local
from .models import Model
from .python_models import code_of
from .state import TableState


class BuildError(Exception):
    """A model could not be computed. Names it and says what DuckDB said."""


@dataclass
class Build:
    """What the modules that compute tables are handed.

    as_of: the day whose end all windows have. now: UTC. run_id: the run's name, for the tables that keep history.
    states: what each table was last built from; none of a table that is new. versions: of each table, as far as this
    build has come, and of the raw tables (`raw.…`). engine: who sums up what is in the raw tables.
    """

    connection: Connection
    settings: Settings
    models: Mapping[str, Model]
    as_of: date
    now: datetime
    run_id: str
    states: dict[str, TableState] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    engine: Engine = field(default_factory=Local)
    _codes: dict[str, str] = field(default_factory=dict, repr=False)  # of modules, which read files for it

    @property
    def generation(self) -> int:
        """Of the raw rows: a full rebuild begins a new one."""
        return self.versions.get("raw.generation", 0)

    def since(self, model: str) -> int:
        """The last load_seq that a table already holds; 0 where it is to be computed from the start."""
        state = self.states.get(model)
        if (
            state is None
            or state.generation != self.generation
            or state.code != self.code(self.models[model])
        ):
            return 0
        return state.through_load or 0

    def code(self, model: Model) -> str:
        """A hash of what computes a table."""
        if not model.by:
            return model.code
        if model.by not in self._codes:
            self._codes[model.by] = code_of(model.by, self.models, self.settings)
        return self._codes[model.by]

    def is_new_code(self, model: Model) -> bool:
        """Whether what computes a table is other than at the last build."""
        state = self.states.get(model.name)
        return state is None or state.code != self.code(model)

    def run(self, model: Model, statement: str, since: int = 0) -> None:
        """Execute a statement made of a model's query, with the parameters that the query asks for."""
        self.connection.execute(statement, self._parameters(statement, since))

    def parameters(self, model: Model, since: int = 0) -> dict[str, object]:
        return self._parameters(model.query, since)

    def _parameters(self, query: str, since: int) -> dict[str, object]:
        given = {"since": since, "as_of": self.as_of, "run_id": self.run_id, "now": self.now}
        return {name: value for name, value in given.items() if f"${name}" in query}
