"""WhatsApp messages."""
