"""A cluster on one machine: real shards in networks of their own, a Postgres, WhatsApp, and their faults."""
