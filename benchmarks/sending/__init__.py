"""How accounts send: how fast, and whether each message arrives once whatever goes wrong."""
