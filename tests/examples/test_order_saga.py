"""The order saga: whatever fails, the books balance."""

from __future__ import annotations

import re
import subprocess
import sys

import examples.order_saga
import pytest
import trio
from examples.order_saga import main, run
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock


@given(st.integers(0, 10_000))
def test_the_books_balance_whatever_fails(seed: int) -> None:
    world, outcomes = trio.run(run, 20, seed, clock=MockClock(autojump_threshold=0))
    assert world.balances()
    assert outcomes.total() == 20
    assert outcomes["shipped"] == len(world.of("shipped"))
    world.books.close()


def test_its_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["order_saga.py", "--orders", "100"])
    main()
    shown = capsys.readouterr().out
    assert "the books balance" in shown
    assert "shipped" in shown
    assert "undoing completed" in shown
    assert "given up" in shown
    assert "└─ ship" in shown


@pytest.mark.slow
def test_the_books_balance_when_the_program_is_killed() -> None:
    command = [sys.executable, examples.order_saga.__file__, "--kill", "2", "--orders", "15", "--seed", "3"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout
    assert "the books balance" in shown
    assert sum(map(int, re.findall(r"^ *(\d+) (?:shipped|failed)", shown, re.MULTILINE))) == 15
