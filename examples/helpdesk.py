"""A helpdesk of two agents, support and billing, under one supervisor.

    prunella run examples/helpdesk.py --signals examples/data/helpdesk.jsonl

Some of the events are faulty, and billing crashes on them. It comes back each time and goes on with what waits in
its mailbox; support does not notice.
"""

from __future__ import annotations

from prunella import Child, Supervisor
from prunella.cli import Mailbox


async def support(mailbox: Mailbox) -> None:
    """Keeps the list of open tickets."""
    open_tickets: set[str] = set()
    while True:
        async with mailbox.take() as event:
            ticket = event.data["ticket"]
            if event.type == "ticket.closed":
                open_tickets.discard(ticket)
            else:
                open_tickets.add(ticket)


async def billing(mailbox: Mailbox) -> None:
    """Keeps the balance in cents. It trusts its input, and that is its fault."""
    balance = 0
    while True:
        async with mailbox.take() as event:
            cents = round(float(event.data["amount"]) * 100)
            if event.type == "invoice.issued":
                balance += cents // event.data["instalments"]  # the first of them is due
            else:
                balance -= cents if event.type == "payment.received" else -cents


mailboxes = [
    Mailbox("support", "ticket.*"),
    Mailbox("billing", "invoice.*", "payment.*", "refund.*"),
]

tree = Supervisor(
    [Child(agent, mailbox, id=mailbox.child) for agent, mailbox in zip((support, billing), mailboxes, strict=True)],
    id="helpdesk",
    strategy="one_for_one",
    # A crash costs one event. Twenty within five seconds are no longer single bad events: then it gives up.
    max_restarts=20,
    max_seconds=5.0,
)
