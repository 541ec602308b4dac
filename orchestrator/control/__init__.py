"""How operators' commands talk to the running service: JSON lines over a UNIX socket."""
