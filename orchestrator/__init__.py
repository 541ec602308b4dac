"""Keeps many WhatsApp accounts connected on one machine, one process each."""

__version__ = "0.1.0"
