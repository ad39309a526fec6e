"""Payments: whenever the shop is killed, the books balance."""

from __future__ import annotations

import os
import random
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from examples import payments
from examples.payments import Bank, Booking, Ledger, Order, Receipt, audit, collect, run_and_kill
from hypothesis import given
from hypothesis import strategies as st

from prunella import Emit, Rejected, Schedule
from prunella.agents import InvalidSignalData
from prunella.testing import assert_emits, assert_runs, only

KILLS = int(os.environ.get("PRUNELLA_KILLS", "6"))
cents = st.integers(1, 10**11 - 1).map(lambda number: Decimal(number).scaleb(-2))


async def with_bank(seed: int, work: Any) -> Bank:
    bank = Bank(random.Random(seed))
    async with trio.open_nursery() as nursery:
        await nursery.start(bank.run)
        await work(bank)
        nursery.cancel_scope.cancel()
    return bank


# All of it: the bank lives in this process, the shop in another, which is killed.


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_the_books_balance_whenever_the_shop_is_killed(tmp_path: Path) -> None:
    orders = 20 + 5 * KILLS

    async def work(bank: Bank) -> None:
        await run_and_kill(bank, tmp_path / "shop.db", orders, KILLS, random.Random(1))

    bank = await with_bank(1, work)
    assert await audit(bank, tmp_path / "shop.db", orders) == []
    assert 0 < len(bank.books) < orders
    assert bank.requests > orders, "it was never asked twice"

    # And an audit would have seen it if they did not.
    bank.books["order/7"] = Booking(Decimal("1.00"), Decimal("0.03"))
    assert len(await audit(bank, tmp_path / "shop.db", orders)) == 2
    del bank.books["order/7"]
    assert len(await audit(bank, tmp_path / "shop.db", orders)) == 2


async def test_the_bank_books_a_key_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []

    async def work(bank: Bank) -> None:
        monkeypatch.setenv("BANK", bank.url)
        for _ in range(20):
            try:
                answers.append(await payments.pay("order/1", Decimal("10.00")))
            except Exception as error:
                answers.append(type(error).__name__)

    bank = await with_bank(3, work)
    assert bank.books == {"order/1": Booking(Decimal("10.00"), Decimal("0.29"))}
    assert answers.count(Receipt(paid=True, fee=Decimal("0.29"))) > 10
    assert set(map(str, answers)) >= {"RemoteProtocolError", "ActionError"}, "the bank was too good"


async def test_another_amount_under_the_same_key_is_refused() -> None:
    bank = Bank(random.Random(1))
    assert bank.book("a", Decimal("1.00"))[0] == 201
    assert bank.book("a", Decimal("2.00"))[0] == 409
    assert bank.book("b", Decimal("900.01"))[0] == 402
    assert bank.balance == Decimal("0.97")


# What the agents decide.


def test_an_order_is_paid_with_its_own_key() -> None:
    order, directives = Order().cmd("order.placed", amount="12.50")
    assert (order.phase, order.amount) == ("paying", Decimal("12.50"))
    assert_runs(directives, payments.pay, {"key": "", "amount": Decimal("12.50")})
    paid, directives = order.cmd("payment.answered", result={"paid": True, "fee": "0.36"})
    assert paid.phase == "paid"
    assert_emits(directives, "sale.made", {"amount": Decimal("12.50"), "fee": Decimal("0.36")}, to="ledger")


def test_an_order_that_is_placed_twice_is_paid_once() -> None:
    order, _ = Order().cmd("order.placed", amount="12.50")
    assert order.cmd("order.placed", amount="12.50") == (order, ())


def test_what_the_bank_declines_is_no_sale() -> None:
    order, _ = Order().cmd("order.placed", amount="12.50")
    order, directives = order.cmd("payment.answered", result={"paid": False})
    assert order.phase == "declined"
    assert directives == (Emit("sale.declined", to="ledger"),)


def test_what_is_in_doubt_is_asked_again_with_the_same_key_and_ever_more_seldom() -> None:
    order, first = Order().cmd("order.placed", amount="12.50")
    delays = []
    for _ in range(20):
        order, directives = order.cmd("payment.failed", error={"type": "TimeoutError"})
        assert order.phase == "paying"
        delays.append(only(directives, Schedule).delay)
        order, again = order.cmd("payment.due")
        assert again == first == (collect("", Decimal("12.50")),)
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.1, 60.0)


@pytest.mark.parametrize("amount", ["0.00", "-1.00", "0.001", "NaN", "Infinity", "1E+30"])
def test_what_is_no_amount_of_money_is_refused(amount: str) -> None:
    with pytest.raises(Rejected):
        Order().cmd("order.placed", amount=amount)


def test_a_float_is_no_amount() -> None:
    with pytest.raises(InvalidSignalData):
        Order().cmd("order.placed", amount=12.5)


@given(st.lists(st.tuples(cents, cents)))
def test_the_ledger_is_nothing_in_all(sales: list[tuple[Decimal, Decimal]]) -> None:
    ledger = Ledger()
    for amount, fee in sales:
        ledger, _ = ledger.cmd("sale.made", amount=amount, fee=fee)
    assert sum(ledger.accounts.values()) == 0
    assert ledger.accounts["sales"] == -sum(amount for amount, _ in sales)
    assert all(balance == balance.quantize(Decimal("0.01")) for balance in ledger.accounts.values())


# Its command.


@pytest.mark.slow
def test_its_command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["payments.py", "--orders", "10", "--kills", "1"])
    payments.main()
    assert "the books balance" in capfd.readouterr().out


def test_the_shop_alone_has_to_know_its_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["payments.py", "--shop", "shop.db"])
    monkeypatch.delenv("BANK", raising=False)
    with pytest.raises(SystemExit, match="2"):
        payments.main()
