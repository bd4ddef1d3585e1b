"""What `check` asks of a worker. Imports nothing that may be missing there."""

from __future__ import annotations

import importlib
import json
import platform
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any


def look(storage: Any, mark: str, raw: str, modules: Sequence[str], rows: Iterable[Any]) -> Iterator[Any]:
    """What a worker finds. storage: the storage, in which a mark was left."""
    import pyarrow as pa

    missing = []
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(module)
    version = None if "duckdb" in missing else importlib.import_module("duckdb").__version__
    for batch in rows:
        for number in batch.column(0).to_pylist():
            found: dict[str, Any] = {
                "host": socket.gethostname(),
                "python": platform.python_version(),
                "duckdb": version,
                "missing": missing,
                "reads": False,
                "raw": Path(raw).exists(),
                "writes": False,
                "wrong": None,
            }
            try:
                found["reads"] = storage.has(mark)
                if found["reads"]:
                    storage.write(f"{mark}-{number}", b"seen")
                    found["writes"] = True
            except (OSError, ValueError) as error:
                found["wrong"] = str(error)
            yield pa.RecordBatch.from_pydict({"answer": [json.dumps(found)]})
