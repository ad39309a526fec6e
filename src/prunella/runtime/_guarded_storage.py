"""The runtime's view of a storage: whatever it raises is one of the errors that a storage has to raise.

A storage may be a stranger's, which raises what its driver does: an `OSError`, say, because the disk is full. Only
what it *returns* of a write is a refusal of that write. What it *raises* says nothing of what was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from ..agents import Fenced, RestoreFailed
from ..errors import PrunellaError
from ..storage import CommitFailed, Storage, StorageError, StorageUnavailable, Write
from ..storage._storage import METHODS, Outcome

__all__ = ["guarded", "told_as_unavailable"]

_ABOUT_DATA = ("enqueue", "insert")
"""They may raise a plain `StorageError`: what was to be written has no form as data."""


def guarded(storage: Storage) -> Storage:
    """A storage around another one, which raises the errors of a storage, and no others.

    A write that raises is in doubt, unless it says that it is not. All else that fails counts as not done, and may be
    tried again. What ends a task, a cancellation, say, comes out as it is.
    """
    return cast(Storage, _Guarded(storage))


@contextmanager
def told_as_unavailable() -> Iterator[None]:
    """What fails inside is told as `StorageUnavailable`, if it is no error that one of us would raise.

    Raises:
        StorageUnavailable: it was none.
    """
    try:
        yield
    except PrunellaError:
        raise
    except Exception as error:
        raise _unavailable(error) from error


class _Guarded:
    __slots__ = ("_storage",)

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def is_open(self) -> bool:
        return self._storage.is_open

    @property
    def is_exclusive(self) -> bool:
        return self._storage.is_exclusive

    async def append(self, *writes: Write) -> tuple[Outcome, ...]:
        try:
            return await self._storage.append(*writes)
        except (CommitFailed, StorageUnavailable, Fenced, RestoreFailed):
            raise
        except Exception as error:
            raise CommitFailed(f"the storage has failed: {_words(error)}", in_doubt=True) from error


def _guarded_method(name: str) -> Any:
    is_about_data = name in _ABOUT_DATA

    async def method(self: _Guarded, *args: Any, **kwargs: Any) -> Any:
        try:
            return await getattr(self._storage, name)(*args, **kwargs)
        except PrunellaError as error:
            if type(error) is not StorageError or is_about_data:
                raise
            raise _unavailable(error) from error
        except Exception as error:
            raise _unavailable(error) from error

    method.__name__ = name
    method.__qualname__ = f"_Guarded.{name}"
    return method


for _name in METHODS:
    if _name not in vars(_Guarded):
        setattr(_Guarded, _name, _guarded_method(_name))


def _unavailable(error: Exception) -> StorageUnavailable:
    return StorageUnavailable(f"the storage has failed: {_words(error)}")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
