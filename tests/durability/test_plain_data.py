"""What a durable agent hears has the form in which it is stored: whatever Python values were sent, it hears the same
again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio

from prunella import Agent, AgentSpec, Ask, Emit, MemoryStorage, Reply, Run, Schedule, Signal, Supervisor, on
from prunella.runtime import AgentRef, DirectiveFailed, Runtime
from prunella.storage import StorageError
from prunella.testing import settle


@attrs.frozen
class Receipt:
    amount: Decimal
    at: datetime


async def receipt(amount: Decimal) -> Receipt:
    return Receipt(amount, datetime(2030, 1, 1, tzinfo=UTC))


async def connection() -> object:
    return object()


class Till(Agent, name="till", durable=True):
    total: Decimal = Decimal(0)
    heard: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @on("paid")
    def paid(self, amount: Decimal, signal: Signal) -> Any:
        return self.set(total=self.total + amount, heard=(*self.heard, type(signal.data["amount"]).__name__))

    @on("pay.elsewhere")
    def elsewhere(self, to: str) -> Any:
        return Emit("paid", {"amount": Decimal("1.10")}, to=to)

    @on("pay.later")
    def later(self) -> Any:
        return Schedule(1.0, "paid", {"amount": Decimal("1.10")})

    @on("pay.run")
    def run(self) -> Any:
        return Run(receipt, {"amount": Decimal("1.10")}, then="got", carry={"tip": Decimal("0.05")})

    @on("got")
    def got(self, result: Receipt, tip: Decimal) -> Any:
        return self.set(total=self.total + result.amount + tip)

    @on("ask")
    def ask(self, to: str) -> Any:
        return Ask(to, "show", then="shown", catch="failed")

    @on("shown")
    def shown(self, result: Receipt) -> Any:
        return self.set(total=self.total + result.amount)

    @on("connect")
    def connect(self) -> Any:
        return Run(connection, then="connected", catch="failed")

    @on("connect.blindly")
    def connect_blindly(self) -> Any:
        return Run(connection, then="connected")

    @on("failed")
    def failed(self, error: Mapping[str, Any]) -> Any:
        return self.set(errors=(*self.errors, error["type"]))


class Clerk(Agent, name="clerk"):
    """Not durable, so it may reply whatever it likes."""

    @on("show")
    def show(self) -> Any:
        return Reply(Receipt(Decimal("1.10"), datetime(2030, 1, 1, tzinfo=UTC)))

    @on("pay")
    def pay(self) -> Any:
        return Emit("paid", {"amount": Decimal("1.10")}, to="till")


ODD = object()


class Odd(Agent, name="odd"):
    @on("show")
    def show(self) -> Any:
        return Reply(ODD)


@pytest.fixture
def runtime_options() -> Mapping[str, Any]:
    agents = [AgentSpec(Till), AgentSpec(Till, "other"), AgentSpec(Clerk), AgentSpec(Odd)]
    return {"tree": Supervisor(agents), "storage": MemoryStorage()}


@pytest.fixture
def till(runtime: Runtime) -> AgentRef[Till]:
    return runtime.ref("till", Till)


async def test_a_caller_may_send_what_can_be_written(till: AgentRef[Till]) -> None:
    assert (await till.call("paid", amount=Decimal("1.10"))).total == Decimal("1.10")
    await till.cast("paid", amount=Decimal("1.10"))
    till.cast_nowait(Signal("paid", {"amount": Decimal("1.10")}))
    state = await till.wait_for(lambda till: till.total == Decimal("3.30"))
    assert state.heard == ("str",) * 3


async def test_so_may_agents(runtime: Runtime, till: AgentRef[Till]) -> None:
    await till.call_settled("pay.elsewhere", to="other")
    await till.call_settled("pay.elsewhere", to="till")
    await runtime.ref("clerk").call_settled("pay")
    await till.call("pay.later")
    await trio.sleep(2)
    await settle(runtime)
    assert (till.state().total, runtime.ref("other", Till).state().total) == (Decimal("3.30"), Decimal("1.10"))
    assert till.state().heard == ("str",) * 3


async def test_results_and_replies_may_be_records(runtime: Runtime, till: AgentRef[Till]) -> None:
    await till.call_settled("pay.run")
    await till.call_settled("ask", to="clerk")
    await settle(runtime)
    assert till.state().total == Decimal("2.25")


async def test_a_result_that_cannot_be_written_is_a_failure_of_the_work(runtime: Runtime, till: AgentRef[Till]) -> None:
    await till.call("connect")
    await till.call("ask", to="odd")
    await settle(runtime)
    assert till.state().errors == ("ConversionError", "ConversionError")
    with pytest.raises(DirectiveFailed, match="object"):
        await till.call_settled("connect.blindly")


async def test_a_caller_is_told_what_cannot_be_written(till: AgentRef[Till]) -> None:
    with pytest.raises(StorageError, match="amount"):
        await till.call("paid", amount=object())
    with pytest.raises(StorageError, match="amount"):
        await till.cast("paid", amount=object())
    assert till.state().total == 0
