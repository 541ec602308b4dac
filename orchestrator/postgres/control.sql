-- What the service keeps of accounts as such. `schema.py` runs the steps; one that was released never changes.
-- version 1

-- Whatever belongs to an account has its id, which never changes and is never used again. Names can be changed, and
-- are too long for Postgres, which cuts the names of roles and schemas at 63 bytes.
CREATE TABLE orchestrator.account (
  id text PRIMARY KEY CHECK (id ~ '^a_[0-9a-f]{16}$'),
  name text NOT NULL UNIQUE CHECK (octet_length(name) BETWEEN 1 AND 255),
  made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Where the session of an account was paired, which is in the schema of the account's id: see `store/realm.py`.
CREATE TABLE orchestrator.session (
  account text PRIMARY KEY REFERENCES orchestrator.account,
  realm text NOT NULL
);

-- What was put away: a session in the schema of this id, messages under this id, or both.
CREATE TABLE orchestrator.quarantine (
  id text PRIMARY KEY CHECK (id ~ '^q_[0-9a-f]{16}$'),
  folder text NOT NULL UNIQUE,
  account text NOT NULL REFERENCES orchestrator.account,
  name text NOT NULL,
  reason text NOT NULL CHECK (reason ~ '^[a-z0-9_]+$'),
  at timestamptz NOT NULL,
  number bigint GENERATED ALWAYS AS IDENTITY,
  realm text,
  session boolean NOT NULL,
  messages boolean NOT NULL
);

-- The one thing that is being moved: see `postgres/moves.py`.
CREATE TABLE orchestrator.move (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  task json NOT NULL
);
