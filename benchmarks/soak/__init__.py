"""The soak: the real service under random faults, watched all the time; see ``__main__``."""
