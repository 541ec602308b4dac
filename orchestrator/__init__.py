"""Keeps many WhatsApp accounts connected, one process each, on one machine or on several."""

__version__ = "0.1.0"
