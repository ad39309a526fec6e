"""A helpdesk of two agents, support and billing, under one supervisor.

    prunella run examples/helpdesk.py --signals examples/data/helpdesk.jsonl

Some of the events are faulty, and billing crashes on them. It comes back each time, with the balance that it had, and
goes on with what waits in its mailbox; support does not notice.
"""

from prunella import Agent, AgentSpec, Supervisor, on


class Support(Agent, name="support"):
    """Keeps the list of open tickets."""

    open: frozenset[str] = frozenset()

    @on("ticket.opened", "ticket.answered")
    def opened(self, ticket: str):
        return self.set(open=self.open | {ticket})

    @on("ticket.closed")
    def closed(self, ticket: str):
        return self.set(open=self.open - {ticket})


class Billing(Agent, name="billing"):
    """Keeps the balance in cents. It trusts its input, and that is its fault."""

    balance: int = 0

    @on("invoice.issued")
    def issued(self, amount: str, instalments: int):
        return self.set(balance=self.balance + cents(amount) // instalments)  # the first of them is due

    @on("payment.received")
    def received(self, amount: str):
        return self.set(balance=self.balance - cents(amount))

    @on("refund.granted")
    def refunded(self, amount: str):
        return self.set(balance=self.balance + cents(amount))


def cents(amount: str) -> int:
    return round(float(amount) * 100)


tree = Supervisor(
    [AgentSpec(Support), AgentSpec(Billing, restore="last")],
    id="helpdesk",
    strategy="one_for_one",
    # A crash costs one event. Twenty within five seconds are no longer single bad events: then it gives up.
    max_restarts=20,
    max_seconds=5.0,
)
