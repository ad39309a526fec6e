"""The command `prunella`, and what a module that it runs may need of it.

`prunella run TARGET --signals FILE` feeds events to the children of a tree. A plain child hears them through a
`Mailbox`; the module that holds the tree lists its mailboxes under the name `mailboxes`::

    support_mail = Mailbox("support", "ticket.*")

    async def support(mailbox: Mailbox) -> None:
        while True:
            async with mailbox.take() as event:
                print(event.type, event.data)

    mailboxes = [support_mail]
    tree = Supervisor([Child(support, support_mail)])
"""

from ._command import main
from ._events import CloudEvent
from ._mailbox import Mailbox

__all__ = ["CloudEvent", "Mailbox", "main"]
