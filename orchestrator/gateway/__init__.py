"""The gateway: the process that hands messages and events to people's programs, and takes their requests."""
