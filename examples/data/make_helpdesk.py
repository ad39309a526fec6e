"""Makes `helpdesk.jsonl`, the same each time: `python examples/data/make_helpdesk.py`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

EVENTS = 3_000
FIRST = datetime(2025, 3, 3, 8, tzinfo=UTC)
SUBJECTS = ("cannot log in", "invoice twice", "slow since Monday", "export fails", "new colleague", "reset my password")
ANSWERS = ("Please try again now.", "We have corrected it.", "It is on its way.", "Could you send us a screenshot?")

# Places in the file, and what is wrong there: the faults that billing crashes on.
NOT_A_NUMBER = {211: "12,50", 677: "EUR 40", 1290: "", 1866: "n/a", 2417: "1.204,00"}
NO_INSTALMENTS = (402, 1021, 1555, 2203)


def draw(random: random.Random) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Type, subject and data of one event after another."""
    tickets: list[str] = []
    invoices: list[tuple[str, str]] = []
    number = 0
    while True:
        number += 1
        kind = random.choices(
            ["opened", "answered", "closed", "issued", "payment", "refund", "newsletter"], [26, 26, 16, 14, 14, 3, 0.4]
        )[0]
        customer = f"C-{random.randint(100, 480)}"
        if kind == "opened" or (kind in ("answered", "closed") and not tickets):
            ticket = f"T-{number:05}"
            tickets.append(ticket)
            data = {"ticket": ticket, "customer": customer, "subject": random.choice(SUBJECTS)}
            yield "ticket.opened", ticket, data
        elif kind == "answered":
            ticket = random.choice(tickets)
            yield "ticket.answered", ticket, {"ticket": ticket, "text": random.choice(ANSWERS)}
        elif kind == "closed":
            ticket = tickets.pop(random.randrange(len(tickets)))
            yield "ticket.closed", ticket, {"ticket": ticket, "solved": random.random() < 0.9}
        elif kind == "newsletter":
            yield "newsletter.sent", customer, {"customer": customer}
        elif kind == "issued" or not invoices:
            invoice, amount = f"I-{number:05}", f"{random.randint(900, 90_000) / 100:.2f}"
            invoices.append((invoice, amount))
            data = {"invoice": invoice, "customer": customer, "amount": amount}
            yield "invoice.issued", invoice, {**data, "instalments": random.choice([1, 1, 1, 3, 12])}
        elif kind == "payment":
            invoice, amount = random.choice(invoices)
            yield "payment.received", invoice, {"invoice": invoice, "amount": amount}
        else:
            invoice, amount = invoices.pop(random.randrange(len(invoices)))
            yield "refund.granted", invoice, {"invoice": invoice, "amount": amount, "reason": "goodwill"}


def events() -> Iterator[dict[str, Any]]:
    """The CloudEvents."""
    chance = random.Random("helpdesk")
    time = FIRST
    drawn = draw(chance)
    for number in range(1, EVENTS + 1):
        type, subject, data = next(drawn)
        if number in NOT_A_NUMBER:
            type, subject = "payment.received", f"I-{number:05}"
            data = {"invoice": subject, "amount": NOT_A_NUMBER[number]}
        elif number in NO_INSTALMENTS:
            type, subject = "invoice.issued", f"I-{number:05}"
            data = {"invoice": subject, "customer": "C-77", "amount": "99.00", "instalments": 0}
        time += timedelta(seconds=chance.randint(1, 40))
        yield {
            "specversion": "1.0",
            "id": f"E-{number:05}",
            "source": "/web" if type.startswith("ticket") else "/shop",
            "type": type,
            "subject": subject,
            "time": time.isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": data,
        }


if __name__ == "__main__":
    path = Path(__file__).with_name("helpdesk.jsonl")
    lines = [json.dumps(event, separators=(",", ":")) + "\n" for event in events()]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    print(f"{path}: {EVENTS} events")
