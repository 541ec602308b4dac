"""Messages in Postgres: what `messages.protocols` asks for, over tables that all accounts share."""
