"""The format of Meta's WhatsApp Cloud API, so that programs for it work with another base URL."""
