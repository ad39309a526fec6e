from __future__ import annotations

__all__ = ["interrupt_in"]


def interrupt_in(error: BaseException) -> BaseException | None:
    """The `KeyboardInterrupt` or `SystemExit` that an exception is, or holds."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            found = interrupt_in(inner)
            if found is not None:
                return found
    return None
