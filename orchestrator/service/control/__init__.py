"""The server side of the control socket."""
