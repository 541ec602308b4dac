-- What the service keeps of accounts as such. `schema.py` runs the steps; one that was released never changes.
-- version 1

-- Whatever belongs to an account has its id, which never changes and is never used again. Names can be changed, and
-- are too long for Postgres, which cuts the names of roles and schemas at 63 bytes.
CREATE TABLE orchestrator.account (
  id text PRIMARY KEY CHECK (id ~ '^a_[0-9a-f]{16}$'),
  name text NOT NULL UNIQUE CHECK (octet_length(name) BETWEEN 1 AND 255),
  made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
