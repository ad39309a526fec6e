"""The names of the package are those of their homes for type checkers too. Nothing here is run."""

from __future__ import annotations

from typing import assert_type

import prunella
from prunella import Child, PrunellaError, Signal, Supervisor, errors, signals, supervision


def names(child: supervision.Child, tree: supervision.Supervisor, signal: signals.Signal) -> None:
    assert_type(child, Child)
    assert_type(tree, Supervisor)
    assert_type(signal, Signal)


def version() -> str:
    return prunella.__version__


def root(error: errors.InvalidArgument) -> PrunellaError:
    return error


prunella.Supervizor  # type: ignore[attr-defined]
