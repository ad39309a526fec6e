"""Whoever writes a storage, or wraps one, need not find words for what has failed."""

from __future__ import annotations

import pickle

import pytest

from prunella.storage import CommitFailed, StorageError, StorageUnavailable


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StorageError(), "did not do what it was asked for"),
        (StorageUnavailable(), "cannot be reached"),
        (CommitFailed(), "not acknowledged"),
        (CommitFailed(in_doubt=True), "may have been written"),
        (CommitFailed("the disk is full"), "the disk is full"),
    ],
)
def test_an_error_says_what_is_wrong_also_if_nobody_has_told_it(error: StorageError, words: str) -> None:
    assert words in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == (str(error), vars(error))
