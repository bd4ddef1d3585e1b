"""The readers on files that no one would write: from a kept corpus, and at random (`tests/fuzzing.py`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing import CORPUS, fuzz, signs_of
from soak import LONG, budget


def test_the_corpus_is_read_or_refused(tmp_path: Path) -> None:
    files = sorted(file for file in CORPUS.iterdir() if file.is_file())
    signs = [signs_of(file.read_bytes(), file.name.partition(".")[2], tmp_path) for file in files]
    assert len(set().union(*signs)) > 60


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(budget(1, 4)))
def test_files_at_random_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    tried, _ = fuzz(seed, 250 if LONG else 100, 1 << 60 if LONG else 150, tmp_path)
    assert tried
