"""Who may ask the gateway for what."""
