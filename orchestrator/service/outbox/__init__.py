"""How the service has accounts send: it checks messages, brings their files in, and sees to their rows."""
