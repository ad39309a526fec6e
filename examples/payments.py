"""Orders that are paid exactly once, by a program that is killed all the time.

    python examples/payments.py [--orders 60] [--kills 3]

It starts a bank, which is a stand-in on loopback, and a shop in a process of its own, which it kills and starts again.
The bank is no better than real ones: it is down at times, and some of its answers are lost after it has booked. At the
end every order was paid once or declined, and the shop's ledger agrees with the bank to the cent.

    BANK=http://localhost:8000 python examples/payments.py --shop shop.db [--orders 60]

is the shop alone: kill it as you like, and start it again.

Needs `prunella[http]`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import ssl
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from pathlib import Path
from typing import Literal

import attrs
import h11
import httpx
import trio

from prunella import (
    Agent,
    AgentSpec,
    Context,
    Durable,
    Emit,
    Map,
    Rejected,
    Run,
    Schedule,
    Signal,
    SQLiteStorage,
    on,
    open_runtime,
)
from prunella.actions import ActionError, action
from prunella.storage import state_at
from prunella.supervision import Backoff

CENT = Decimal("0.01")
NOTHING = Decimal("0.00")
DAY = 86_400.0
TLS = ssl.create_default_context()  # once: it takes longer to load than a payment to make


@attrs.frozen
class Receipt:
    """What the bank has answered."""

    paid: bool
    fee: Decimal = NOTHING


# The work: what the shop asks of the bank. It may be asked for again after any crash, and always with the same key.


@action(timeout=5.0, retries=3, idempotent=True, backoff=Backoff(0.02, 1.0, 2.0))
async def pay(key: str, amount: Decimal) -> Receipt:
    """Has the bank collect an amount; however often it is asked with one key, once."""
    bank = os.environ["BANK"]  # here and not in the agent: where the bank is today is no part of a decision
    async with httpx.AsyncClient(verify=TLS) as client:
        # An amount is text on its way. As a number in JSON it would be a float to half of its readers.
        body = {"amount": str(amount)}
        response = await client.post(f"{bank}/payments", json=body, headers={"idempotency-key": key})
    if response.status_code == 402:
        return Receipt(paid=False)
    if response.status_code == 201:
        return Receipt(paid=True, fee=Decimal(response.json()["fee"]))
    raise ActionError(f"the bank says {response.status_code}", retryable=response.status_code >= 500)


# The agents: what they know, and what they decide.


class Order(Agent, name="order", durable=True):
    """One order, from the moment at which it is placed until it is paid or declined."""

    phase: Literal["new", "paying", "paid", "declined"] = "new"
    amount: Decimal = NOTHING
    failures: int = 0

    @on("order.placed")
    def placed(self, amount: Decimal, context: Context):
        if self.phase != "new":
            return None  # the customer has pressed the button twice
        if not is_money(amount):
            raise Rejected("this is no amount of money")
        return self.set(phase="paying", amount=amount), collect(context.agent_id, amount)

    @on("payment.answered")
    def answered(self, result: Receipt):
        if not result.paid:
            return self.set(phase="declined"), Emit("sale.declined", to="ledger")
        return self.set(phase="paid"), Emit("sale.made", {"amount": self.amount, "fee": result.fee}, to="ledger")

    @on("payment.failed")
    def failed(self):
        # Whatever it was, it is in doubt: the bank may have booked. So nothing is decided but to ask again.
        delay = min(0.1 * 2**self.failures, 60.0)
        return self.set(failures=min(self.failures + 1, 10)), Schedule(delay, "payment.due", key="payment")

    @on("payment.due")
    def due(self, context: Context):
        return collect(context.agent_id, self.amount)


def is_money(amount: Decimal) -> bool:
    """Whether this can be asked of anybody: some whole number of cents."""
    return amount.is_finite() and 0 < amount < 10**9 and amount == amount.quantize(CENT)


def collect(order: str, amount: Decimal) -> Run:
    """Asks for the payment of an order. Its key is the order's: a second `Run` for it must not be a second payment."""
    return Run(pay, {"key": order, "amount": amount}, then="payment.answered", catch="payment.failed")


class Ledger(Agent, name="ledger", durable=Durable(dedupe_for=365 * DAY)):
    """The books of the shop, by double entry: whatever is booked, all accounts together are nothing.

    It counts each sale once for as long as it remembers the signal: longer than the shop will ever be down.
    """

    accounts: Mapping[str, Decimal] = Map({"bank": NOTHING, "fees": NOTHING, "sales": NOTHING})
    paid: int = 0
    declined: int = 0

    @on("sale.made")
    def sale(self, amount: Decimal, fee: Decimal):
        # Nothing looks whether it was booked before: what one durable agent tells another has an id, and counts once.
        changes = {"bank": amount - fee, "fees": fee, "sales": -amount}
        accounts = {account: balance + changes[account] for account, balance in self.accounts.items()}
        return self.set(accounts=Map(accounts), paid=self.paid + 1)

    @on("sale.declined")
    def no_sale(self):
        return self.set(declined=self.declined + 1)


# The shop: places the orders, and waits until it knows of each what became of it.


def amount_of(number: int) -> Decimal:
    """What an order costs."""
    return Decimal(random.Random(number).randrange(1_00, 1_000_00)).scaleb(-2)


async def shop(storage: SQLiteStorage, orders: int) -> Ledger:
    """Runs until all orders are paid or declined. It may be killed at any moment, and started again."""
    async with open_runtime(AgentSpec(Ledger), storage=storage, agents=[Order]) as runtime:
        of_number = runtime.keyed(Order, idle_timeout=5.0)
        for number in range(orders):
            order = await of_number.get(str(number))
            # Its id makes it the same signal when the shop is started anew, and places all of them again.
            await order.cast(Signal("order.placed", {"amount": amount_of(number)}, id=f"placed-{number}"))
        ledger = runtime.ref("ledger", Ledger)
        return await ledger.wait_for(lambda books: books.paid + books.declined == orders)


# A stand-in for the bank, on loopback.


@attrs.frozen
class Booking:
    """What the bank has collected, and what it keeps of it."""

    amount: Decimal
    fee: Decimal


class Bank:
    """Collects money: each idempotency key once. Above its limit it declines.

    Attributes:
        url: where it is, once it runs.
        books: what it has booked, by key.
        requests: how often it was asked.
        balance: what it owes the shop.
    """

    LIMIT = Decimal("900.00")
    FEE = Decimal("0.029")

    def __init__(self, chance: random.Random) -> None:
        self.url = ""
        self.books: dict[str, Booking] = {}
        self.requests = 0
        self._chance = chance
        self._asked = trio.Event()

    @property
    def balance(self) -> Decimal:
        return sum((booking.amount - booking.fee for booking in self.books.values()), NOTHING)

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started(self.url)
        await trio.serve_listeners(self._serve, listeners)

    async def next_request(self) -> None:
        """Waits until it is asked."""
        self._asked = trio.Event()
        await self._asked.wait()

    def book(self, key: str, amount: Decimal) -> tuple[int, dict[str, str]]:
        """Books a payment, unless it has. Gives the status and the body of the answer."""
        if amount > self.LIMIT:
            return 402, {}
        fee = (amount * self.FEE).quantize(CENT, ROUND_HALF_EVEN)
        booking = self.books.setdefault(key, Booking(amount, fee))
        if booking.amount != amount:
            return 409, {}  # another payment under a key that is used
        return 201, {"key": key, "fee": str(booking.fee)}

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        headers: dict[bytes, bytes] = {}
        body = b""
        with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):  # whoever asks is killed now and then
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    headers = dict(event.headers)
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    return
            self.requests += 1
            self._asked.set()
            await trio.sleep(self._chance.uniform(0.0, 0.05))
            if self._chance.random() < 0.1:
                status, content = 503, {}  # it is down
            else:
                status, content = self.book(headers[b"idempotency-key"].decode(), Decimal(json.loads(body)["amount"]))
            if self._chance.random() < 0.1:
                return  # the answer is lost
            head = h11.Response(status_code=status, headers=[("connection", "close")])
            answer = connection.send(head), connection.send(h11.Data(json.dumps(content).encode()))
            await stream.send_all(b"".join(part or b"" for part in (*answer, connection.send(h11.EndOfMessage()))))
            await stream.aclose()


# The demonstration: the bank here, the shop in a process that is killed.


async def run_and_kill(bank: Bank, database: Path, orders: int, kills: int, chance: random.Random) -> None:
    """Runs the shop and kills it so many times, wherever it is, and then lets it finish."""
    command = [sys.executable, __file__, "--shop", str(database), "--orders", str(orders)]
    environment = {**os.environ, "BANK": bank.url}
    for _ in range(kills):
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, env=environment, check=False)
            process: trio.Process = await nursery.start(run)
            with trio.move_on_after(5):  # it may be through with all
                await bank.next_request()
            await trio.sleep(chance.uniform(0.0, 0.3))
            process.kill()
    await trio.run_process(command, env=environment)


async def audit(bank: Bank, database: Path, orders: int) -> list[str]:
    """Compares the books of the shop with those of the bank, and gives every difference."""
    async with SQLiteStorage(database, read_only=True) as storage:
        ledger = await state_at(storage, Ledger, "ledger")
        all_orders = {f"order/{number}": await state_at(storage, Order, f"order/{number}") for number in range(orders)}
    paid = {id: order.amount for id, order in all_orders.items() if order.phase == "paid"}
    declined = [id for id, order in all_orders.items() if order.phase == "declined"]
    checks = {
        "an order is neither paid nor declined": len(paid) + len(declined) == orders,
        "an order has another amount": all(
            order.amount == amount_of(number) for number, order in enumerate(all_orders.values())
        ),
        "the bank has booked other orders, or other amounts": paid
        == {key: booking.amount for key, booking in bank.books.items()},
        "the ledger counts other orders": (ledger.paid, ledger.declined) == (len(paid), len(declined)),
        "the ledger does not balance": sum(ledger.accounts.values()) == 0,
        "the ledger and the bank disagree": ledger.accounts["bank"] == bank.balance,
        "sales are missing, or invented": -ledger.accounts["sales"] == sum(paid.values()),
    }
    return [difference for difference, is_well in checks.items() if not is_well]


async def demonstrate(orders: int, kills: int) -> None:
    bank = Bank(random.Random(1))
    with tempfile.TemporaryDirectory() as directory:
        database = Path(directory) / "shop.db"
        async with trio.open_nursery() as nursery:
            await nursery.start(bank.run)
            await run_and_kill(bank, database, orders, kills, random.Random(2))
            nursery.cancel_scope.cancel()
        differences = await audit(bank, database, orders)
    print(
        f"{kills} kills; the bank was asked {bank.requests} times, and has booked {len(bank.books)} of {orders} orders"
    )
    print("the books balance" if not differences else f"the books DO NOT BALANCE: {'; '.join(differences)}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--orders", type=int, default=60, help="how many orders are placed")
    arguments.add_argument("--kills", type=int, default=3, help="how often the shop is killed")
    arguments.add_argument("--shop", metavar="FILE", help="run the shop alone, with its agents in this database")
    chosen = arguments.parse_args()
    if chosen.shop is None:
        trio.run(demonstrate, chosen.orders, chosen.kills)
    elif "BANK" not in os.environ:
        arguments.error("where is the bank? BANK=http://...")
    else:
        ledger = trio.run(shop, SQLiteStorage(chosen.shop), chosen.orders)
        print(f"{ledger.paid} orders are paid, {ledger.declined} declined; at the bank are {ledger.accounts['bank']}")


if __name__ == "__main__":
    main()
