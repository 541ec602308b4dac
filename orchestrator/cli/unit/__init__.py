"""The command `install-unit`."""
