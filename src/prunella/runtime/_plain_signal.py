"""Signals in the form in which they are stored: a durable agent hears nothing else, so that it hears the same again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..conversion import ConversionError, to_data

if TYPE_CHECKING:
    from ._delivery import Delivery

__all__ = ["make_plain"]

_SCALARS: Final = frozenset({str, int, float, bool, type(None), bytes})


def make_plain(delivery: Delivery) -> None:
    """Writes amounts, times, records and the like in the data of a signal as plain data.

    What has no such form stays: the storage refuses it, and says what it is.
    """
    signal = delivery.signal
    if not _is_plain(signal.data):
        try:
            delivery.signal = signal.__replace__(data=to_data(signal.data))
        except ConversionError:
            return


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if kind is list:
        return all(map(_is_plain, value))
    return kind in _SCALARS
