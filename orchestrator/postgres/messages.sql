-- The messages of accounts: what came in, what is to be sent, and what is known besides.
-- `schema.py` runs the steps; one that was released never changes.
-- version 1

CREATE SCHEMA orchestrator_messages;

-- All that is kept of one account's messages, by the account's id, or by the id in quarantine of what was put away: its
-- rows stay as they are, and one write changes whose they are. `owner` is the start of a service that may write here.
-- `request` and `answer` are of the last write, so that a commit of which nobody knows whether it happened is neither
-- lost nor done twice. No row of this table is ever large, and the free half of each page takes its next version.
CREATE TABLE orchestrator_messages.box (
  box bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account text NOT NULL UNIQUE,
  owner uuid,
  began_seq bigint NOT NULL, seq bigint NOT NULL,
  began_number bigint NOT NULL, number bigint NOT NULL,
  entries bigint NOT NULL DEFAULT 0,
  lost bigint NOT NULL DEFAULT 0,
  last_message_at double precision,
  last_sent_at double precision,
  request bytea,
  answer bytea
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

-- The highest numbers that an account's earlier boxes have given: none comes twice under one name.
CREATE TABLE orchestrator_messages.counted (
  account text PRIMARY KEY,
  seq bigint NOT NULL,
  number bigint NOT NULL
);

CREATE TABLE orchestrator_messages.entry (
  box bigint NOT NULL REFERENCES orchestrator_messages.box ON DELETE CASCADE,
  seq bigint NOT NULL,
  source text NOT NULL, chat text NOT NULL, sender text NOT NULL, id text NOT NULL, extra text NOT NULL,
  at double precision NOT NULL, stored_at double precision NOT NULL,
  raw bytea NOT NULL, notes text NOT NULL, media text,
  PRIMARY KEY (box, seq)
);
CREATE INDEX entry_by_id ON orchestrator_messages.entry (box, id);
CREATE INDEX entry_by_chat ON orchestrator_messages.entry (box, chat, seq);
CREATE INDEX entry_by_time ON orchestrator_messages.entry (box, stored_at);
CREATE INDEX entry_by_media ON orchestrator_messages.entry (box, media) WHERE media IS NOT NULL;
CREATE INDEX entry_with_media ON orchestrator_messages.entry (box, seq) WHERE media IS NOT NULL;

CREATE TABLE orchestrator_messages.seen (
  box bigint NOT NULL REFERENCES orchestrator_messages.box ON DELETE CASCADE,
  key bytea NOT NULL, at double precision NOT NULL,
  PRIMARY KEY (box, key)
);
CREATE INDEX seen_by_time ON orchestrator_messages.seen (box, at);

CREATE TABLE orchestrator_messages.meta (
  box bigint NOT NULL REFERENCES orchestrator_messages.box ON DELETE CASCADE,
  key text NOT NULL, value text NOT NULL,
  PRIMARY KEY (box, key)
);

CREATE TABLE orchestrator_messages.sent (
  box bigint NOT NULL REFERENCES orchestrator_messages.box ON DELETE CASCADE,
  digest bytea NOT NULL, id text, chat text NOT NULL, at double precision NOT NULL,
  PRIMARY KEY (box, digest)
);
CREATE INDEX sent_by_id ON orchestrator_messages.sent (box, id);
CREATE INDEX sent_by_time ON orchestrator_messages.sent (box, at);

CREATE TABLE orchestrator_messages.outgoing (
  box bigint NOT NULL REFERENCES orchestrator_messages.box ON DELETE CASCADE,
  number bigint NOT NULL,
  key bytea, content bytea NOT NULL, key_until double precision NOT NULL,
  kind text NOT NULL, chat text NOT NULL, tag text, body text, file text,
  state text NOT NULL, created_at double precision NOT NULL, expires_at double precision NOT NULL,
  changed_at double precision NOT NULL,
  message text, pace text, queued_until double precision, code bigint, why text, secret bytea,
  PRIMARY KEY (box, number),
  UNIQUE (box, key)
);
CREATE INDEX outgoing_by_state ON orchestrator_messages.outgoing (box, state, expires_at);
CREATE INDEX outgoing_by_time ON orchestrator_messages.outgoing (box, changed_at);
CREATE INDEX outgoing_by_message ON orchestrator_messages.outgoing (box, message) WHERE message IS NOT NULL;
CREATE INDEX outgoing_with_file ON orchestrator_messages.outgoing (box, file) WHERE file IS NOT NULL;

CREATE TABLE orchestrator_messages.contact (
  box bigint NOT NULL REFERENCES orchestrator_messages.box ON DELETE CASCADE,
  digest bytea NOT NULL, heard_at double precision NOT NULL, sent_at double precision NOT NULL,
  found_at double precision NOT NULL, missing_at double precision NOT NULL, refused_at double precision NOT NULL,
  noted_at double precision NOT NULL,
  PRIMARY KEY (box, digest)
);
CREATE INDEX contact_by_time ON orchestrator_messages.contact (box, noted_at);

CREATE TABLE orchestrator_messages.receipt (
  box bigint NOT NULL REFERENCES orchestrator_messages.box ON DELETE CASCADE,
  number bigint GENERATED ALWAYS AS IDENTITY,
  message text NOT NULL, at double precision NOT NULL,
  PRIMARY KEY (box, number),
  UNIQUE (box, message)
);

-- No write by another than the owner: a service that was replaced, and goes on as if it were not, is refused. The row
-- of the box stays locked until the end of the transaction, so that whoever takes over waits for what was begun.
CREATE FUNCTION orchestrator_messages.check_owner() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  wanted bigint := CASE TG_OP WHEN 'DELETE' THEN OLD.box ELSE NEW.box END;
  writer text := current_setting('orchestrator.owner', true);
BEGIN
  PERFORM 1 FROM orchestrator_messages.box
    WHERE box = wanted AND (owner IS NULL OR owner::text = writer) FOR SHARE;
  IF NOT FOUND AND EXISTS (SELECT 1 FROM orchestrator_messages.box WHERE box = wanted) THEN
    RAISE EXCEPTION 'another service owns these messages' USING ERRCODE = 'OR001';
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
REVOKE ALL ON FUNCTION orchestrator_messages.check_owner() FROM PUBLIC;

CREATE TRIGGER entry_of_owner BEFORE INSERT OR UPDATE OR DELETE ON orchestrator_messages.entry
  FOR EACH ROW EXECUTE FUNCTION orchestrator_messages.check_owner();
CREATE TRIGGER outgoing_of_owner BEFORE INSERT OR UPDATE OR DELETE ON orchestrator_messages.outgoing
  FOR EACH ROW EXECUTE FUNCTION orchestrator_messages.check_owner();
