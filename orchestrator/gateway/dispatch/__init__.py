"""Which consumer gets which event, and what became of that."""
