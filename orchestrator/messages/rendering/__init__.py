"""Turns what the inbox holds into events, the one form in which messages are handed on. Pure."""

from orchestrator.messages.rendering.events import UNREADABLE, Event, Lookup, render
from orchestrator.messages.rendering.grammar import Facts, Kind, Place, facts

__all__ = ("UNREADABLE", "Event", "Facts", "Kind", "Lookup", "Place", "facts", "render")
