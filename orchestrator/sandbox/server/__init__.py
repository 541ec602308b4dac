"""The server itself: what WhatsApp's side of a connection does."""
