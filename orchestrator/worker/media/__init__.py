"""Attachments: fetched from WhatsApp as a stream, through the account's own proxy."""
