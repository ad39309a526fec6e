"""Strict conversion: data from outside becomes typed, immutable values, or is refused."""

from ._map import Map

__all__ = ["Map"]
