"""The order saga: whatever fails, the books balance."""

from __future__ import annotations

import pytest
import trio
from examples.order_saga import balances, main, run
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock


@given(st.integers(0, 10_000))
def test_the_books_balance_whatever_fails(seed: int) -> None:
    world, outcomes = trio.run(run, 20, seed, clock=MockClock(autojump_threshold=0))
    assert balances(world)
    assert outcomes.total() == 20
    assert outcomes["shipped"] == len(world.shipped)


def test_its_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["order_saga.py", "--orders", "100"])
    main()
    shown = capsys.readouterr().out
    assert "the books balance" in shown
    assert "shipped" in shown
    assert "undoing completed" in shown
    assert "given up" in shown
    assert "flowchart" in shown
