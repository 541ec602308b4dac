"""What an account sends: its outbox is worked off here, and what becomes of each row is written down."""
