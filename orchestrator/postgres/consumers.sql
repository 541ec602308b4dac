-- What is known of consumers (webhooks, bots, pulls), of each account: it follows the account to the next machine.
-- `consumers.py` has the statements. No row has a text: what failed is looked up in the inbox again.
-- `schema.py` runs the steps; one that was released never changes.
-- version 1

-- How each consumer stands, for all machines. `revision` grows with each change, so that a machine knows what is news.
CREATE TABLE orchestrator.consumer (
  name text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 255),
  kind text NOT NULL CHECK (kind IN ('webhook', 'bot', 'pull')),
  since double precision NOT NULL,
  paused boolean NOT NULL DEFAULT false,
  disabled boolean NOT NULL DEFAULT false,
  why text NOT NULL DEFAULT '',
  changed_at double precision NOT NULL DEFAULT 0,
  revision bigint NOT NULL DEFAULT 1,
  maker text NOT NULL DEFAULT '',
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The accounts of which positions are known.
CREATE TABLE orchestrator.consumer_account (
  account text PRIMARY KEY REFERENCES orchestrator.account ON DELETE CASCADE
);

-- Up to where a consumer has had an account's events. NULL: that is to be found out, by `since`.
CREATE TABLE orchestrator.consumer_position (
  account text NOT NULL REFERENCES orchestrator.account ON DELETE CASCADE,
  consumer text NOT NULL,
  stream text NOT NULL CHECK (stream IN ('messages', 'account')),
  cursor bigint,
  since double precision NOT NULL,
  PRIMARY KEY (account, consumer, stream)
);
CREATE INDEX consumer_position_of ON orchestrator.consumer_position (consumer);

-- The chats of which an event has failed and is tried again.
CREATE TABLE orchestrator.consumer_chat (
  account text NOT NULL REFERENCES orchestrator.account ON DELETE CASCADE,
  consumer text NOT NULL,
  stream text NOT NULL CHECK (stream IN ('messages', 'account')),
  lane text NOT NULL,
  done bigint NOT NULL, counted bigint NOT NULL, waiting bigint NOT NULL,
  seq bigint, id text, type text, at double precision,
  tries bigint NOT NULL, due double precision NOT NULL, why text NOT NULL,
  PRIMARY KEY (account, consumer, stream, lane)
);
CREATE INDEX consumer_chat_of ON orchestrator.consumer_chat (consumer);

-- The dead letters.
CREATE TABLE orchestrator.consumer_letter (
  account text NOT NULL REFERENCES orchestrator.account ON DELETE CASCADE,
  consumer text NOT NULL,
  stream text NOT NULL CHECK (stream IN ('messages', 'account')),
  seq bigint NOT NULL,
  lane text NOT NULL,
  id text NOT NULL, type text NOT NULL, at double precision NOT NULL,
  tries bigint NOT NULL, why text NOT NULL, died_at double precision NOT NULL,
  due double precision, revived bigint NOT NULL,
  PRIMARY KEY (account, consumer, stream, seq)
);
CREATE INDEX consumer_letter_of ON orchestrator.consumer_letter (consumer);

-- What a pull was given and has not acknowledged, or has: then `reach` is empty.
CREATE TABLE orchestrator.consumer_batch (
  consumer text NOT NULL REFERENCES orchestrator.consumer (name) ON DELETE CASCADE,
  scope text NOT NULL CHECK (octet_length(scope) <= 255),
  cursor text NOT NULL CHECK (cursor ~ '^[0-9a-f]{32}$'),
  reach json NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (consumer, scope)
);

REVOKE ALL ON orchestrator.consumer, orchestrator.consumer_account, orchestrator.consumer_position,
  orchestrator.consumer_chat, orchestrator.consumer_letter, orchestrator.consumer_batch FROM PUBLIC;
