"""Errors of a file store."""

from __future__ import annotations


class StoreAway(Exception):
    """The store cannot be reached, is full, or refuses; the message holds no name, address or key."""


class NotThere(Exception):
    """The store answers, and has no such file."""
