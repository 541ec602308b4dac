"""The configuration file: found, read, checked and edited."""
