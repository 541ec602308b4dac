"""Sending, decided: what can be sent, in which order and when, and what becomes of it. Pure."""
