"""What the commands `messages` and `trace` do."""
