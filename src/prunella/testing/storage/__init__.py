"""Tests for storages: what every `Storage` has to do, and one that fails on purpose.

Whoever writes a storage runs all of `CHECKS` against it, each with an empty one of its own:

.. code-block:: python

    import pytest
    from prunella.storage import SQLiteStorage
    from prunella.testing.storage import CHECKS

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_it_is_a_storage(check, tmp_path):
        await check(lambda: SQLiteStorage(tmp_path / "agents.db"))

A check calls the function whenever it needs a storage. All that it gives have to share their content; they may be the
same object.

`FaultyStorage` stands around a storage and lets calls fail, before or after they did their work:

.. code-block:: python

    import trio
    from prunella.storage import CommitFailed, MemoryStorage
    from prunella.testing.storage import Fault, FaultyStorage

    async def main():
        storage = FaultyStorage(MemoryStorage(), [Fault("append", "lost_answer")])
        async with storage:
            try:
                await storage.append()
            except CommitFailed as error:
                assert error.in_doubt

    trio.run(main)
"""

from ._checks import CHECKS, Check, Factory
from ._faults import Fault, FaultKind, FaultyStorage

__all__ = ["CHECKS", "Check", "Factory", "Fault", "FaultKind", "FaultyStorage"]
