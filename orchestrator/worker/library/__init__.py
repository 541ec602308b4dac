"""neonize, the WhatsApp library. No other package imports neonize."""
