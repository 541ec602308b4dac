-- What is written down of accounts: status, timelines, wishes, codes.
-- `schema.py` runs the steps; one that was released never changes.
-- version 1

-- What must outlive a service of each account: what operators wish, bans and counters, and what was shown last.
-- `json` and not `jsonb`: what was written is read as it was, also characters that jsonb refuses.
CREATE TABLE orchestrator.status (
  account text PRIMARY KEY REFERENCES orchestrator.account,
  kept json NOT NULL,
  clock json NOT NULL,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What happened to each account, in the order of `place`. `n` is the number by which programs know an entry; what
-- is of an earlier account of the same name has none. By `mark`, an entry that is written again is the same one:
-- of a commit that was lost, nobody knows whether it was done.
CREATE TABLE orchestrator.history (
  account text NOT NULL REFERENCES orchestrator.account,
  place bigint GENERATED ALWAYS AS IDENTITY,
  n bigint CHECK (n BETWEEN 1 AND 1000000000000000),
  mark text NOT NULL CHECK (octet_length(mark) = 32),
  at timestamptz NOT NULL,
  entry json NOT NULL,
  PRIMARY KEY (account, place)
);
CREATE UNIQUE INDEX history_n ON orchestrator.history (account, n);
CREATE UNIQUE INDEX history_mark ON orchestrator.history (account, mark);

-- What is of the fleet and not of one account: maintenance, when a service was there last, what a program was told.
CREATE TABLE orchestrator.fact (
  key text PRIMARY KEY,
  value json NOT NULL,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The QR codes that accounts show. Whoever scans one links a phone: nobody but the control role may read them.
-- Rows go when the code does, by the clock of the database.
CREATE TABLE orchestrator.code (
  account text PRIMARY KEY REFERENCES orchestrator.account,
  png bytea NOT NULL CHECK (octet_length(png) <= 65536),
  expires_at timestamptz NOT NULL
);

-- Which service runs the accounts: one at a time, for as long as it says so again and again.
CREATE TABLE orchestrator.owner (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  incarnation text NOT NULL CHECK (octet_length(incarnation) = 32),
  place text NOT NULL,
  host text NOT NULL,
  pid integer NOT NULL,
  what text NOT NULL,
  until timestamptz NOT NULL
);
