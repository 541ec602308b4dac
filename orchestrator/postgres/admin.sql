-- What an administrator of the database server allows the orchestrator to do: to make, lock and remove the roles and
-- schemas of accounts, and nothing else. Run by `orchestrator cluster init --admin-dsn-file FILE`, or with psql, in
-- the orchestrator's database, as a superuser or as a role that may create roles and grant pg_signal_backend. It may
-- be run again. No name in it comes from an operator, but the three that are filled in here:
--   @control@: the role of store.dsn_file; @admin@: the owner of the functions, which nobody can log in as;
--   @accounts@: the group of the accounts' roles, whose one right is to connect.

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = @admin_name@) THEN
    CREATE ROLE @admin@ NOLOGIN CREATEROLE;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = @accounts_name@) THEN
    CREATE ROLE @accounts@ NOLOGIN;
  END IF;
  IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
    GRANT @admin@ TO CURRENT_USER;
  END IF;
END $$;
-- Since Postgres 16, CREATEROLE alone puts nobody into a group.
GRANT @accounts@ TO @admin@ WITH ADMIN OPTION;
GRANT pg_signal_backend TO @admin@;

REVOKE ALL ON DATABASE @database@ FROM PUBLIC;
GRANT CONNECT ON DATABASE @database@ TO @control@, @accounts@;
GRANT CONNECT, CREATE ON DATABASE @database@ TO @admin@;
GRANT CREATE ON DATABASE @database@ TO @control@;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- An account's role makes no functions: what reads its tables would run them.
REVOKE USAGE ON LANGUAGE sql, plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE sql, plpgsql TO @control@, @admin@;

CREATE SCHEMA IF NOT EXISTS orchestrator_admin;
ALTER SCHEMA orchestrator_admin OWNER TO @admin@;
REVOKE ALL ON SCHEMA orchestrator_admin FROM PUBLIC;
GRANT USAGE ON SCHEMA orchestrator_admin TO @control@;

-- Only the service may ask, by its own login: neither a role that was made to act as it, nor anybody's function.
CREATE OR REPLACE FUNCTION orchestrator_admin.check_caller() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF session_user <> @control_name@ THEN
    RAISE insufficient_privilege USING MESSAGE = 'only the service may do this';
  END IF;
END $$;

CREATE OR REPLACE FUNCTION orchestrator_admin.check_id(id text, forms text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF id IS NULL OR id !~ ('^[' || forms || ']_[0-9a-f]{16}$') THEN
    RAISE invalid_parameter_value USING MESSAGE = 'this is no id of an account';
  END IF;
END $$;

CREATE OR REPLACE FUNCTION orchestrator_admin.check_verifier(verifier text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF verifier IS NULL
    OR verifier !~ '^SCRAM-SHA-256\$[0-9]{4,6}:[A-Za-z0-9+/=]{20,60}\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}$' THEN
    RAISE invalid_parameter_value USING MESSAGE = 'a password comes as a SCRAM verifier, never as it is';
  END IF;
END $$;

-- Make the role and the schema of an account, or give the role another password.
CREATE OR REPLACE FUNCTION orchestrator_admin.make_account(id text, verifier text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(id, 'a');
  PERFORM orchestrator_admin.check_verifier(verifier);
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = id) THEN
    IF NOT pg_has_role(id, @accounts_name@, 'MEMBER') THEN
      RAISE insufficient_privilege USING MESSAGE = 'the role is of another orchestrator';
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', id, verifier);
  ELSE
    EXECUTE format(
      'CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT'
      ' CONNECTION LIMIT 10 PASSWORD %L IN ROLE %I', id, verifier, @accounts_name@);
    -- Whoever removes tables, or gives them to somebody else, has to have the rights of their owner.
    EXECUTE format('GRANT %I TO %I', id, current_user);
    EXECUTE format('ALTER ROLE %I SET search_path = %I', id, id);
    EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', id, '30s');
    EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', id, '20s');
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', id, '60s');
    EXECUTE format('ALTER ROLE %I SET tcp_keepalives_idle = 3', id);
    EXECUTE format('ALTER ROLE %I SET tcp_keepalives_interval = 2', id);
    EXECUTE format('ALTER ROLE %I SET tcp_keepalives_count = 2', id);
  END IF;
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = id) THEN
    EXECUTE format('CREATE SCHEMA %I', id);
  END IF;
  EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', id, id);
END $$;

-- Let nobody log in as an account any more, and end those who are; return how many there were.
CREATE OR REPLACE FUNCTION orchestrator_admin.lock_account(id text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found int;
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(id, 'a');
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = id) THEN
    EXECUTE format('ALTER ROLE %I NOLOGIN PASSWORD NULL', id);
  END IF;
  RETURN orchestrator_admin.end_backends(id);
END $$;

-- End the connections of an account; return how many there were.
CREATE OR REPLACE FUNCTION orchestrator_admin.end_backends(id text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found int;
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(id, 'a');
  SELECT count(pg_terminate_backend(pid)) INTO found FROM pg_stat_activity WHERE usename = id;
  RETURN found;
END $$;

-- Return how many connections an account has.
CREATE OR REPLACE FUNCTION orchestrator_admin.backends(id text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(id, 'a');
  RETURN (SELECT count(*) FROM pg_stat_activity WHERE usename = id);
END $$;

-- Put an account's session away: the schema gets another name, and what is in it another owner. The role goes: it
-- comes again with the next session.
CREATE OR REPLACE FUNCTION orchestrator_admin.put_away(id text, place text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(id, 'a');
  PERFORM orchestrator_admin.check_id(place, 'q');
  EXECUTE format('ALTER SCHEMA %I RENAME TO %I', id, place);
  PERFORM orchestrator_admin.drop_role(id);
END $$;

-- Make a session that was put away the one of an account, which has a role and no session.
CREATE OR REPLACE FUNCTION orchestrator_admin.put_back(place text, id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE one record;
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(id, 'a');
  PERFORM orchestrator_admin.check_id(place, 'q');
  EXECUTE format('ALTER SCHEMA %I RENAME TO %I', place, id);
  EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', id, id);
  FOR one IN
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = id::regnamespace AND c.relkind = 'r'
  LOOP
    EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', id, one.relname, id);
  END LOOP;
END $$;

-- Remove the role of an account, with all rights that it has had; what it has made belongs to the owner of this.
CREATE OR REPLACE FUNCTION orchestrator_admin.drop_role(id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(id, 'a');
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = id) THEN
    EXECUTE format('REASSIGN OWNED BY %I TO %I', id, current_user);
    EXECUTE format('DROP OWNED BY %I', id);
    EXECUTE format('DROP ROLE %I', id);
  END IF;
END $$;

-- Delete a session for good.
CREATE OR REPLACE FUNCTION orchestrator_admin.drop_session(place text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(place, 'aq');
  EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', place);
END $$;

-- Whether a table of an account is as the library makes it, so that who reads it runs nothing of anybody else's; NULL
-- if there is none. The tables are an account's own, and it may have put anything in their places: a view or a policy
-- would run as the owner of these functions. So only a plain table counts, of plain types, of a role without
-- functions, and it is locked before it is looked at.
CREATE OR REPLACE FUNCTION orchestrator_admin.is_plain(place text, called text, texts text[], bytes text[])
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE relation oid;
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(place, 'aq');
  SELECT c.oid INTO relation FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = place AND c.relname = called;
  IF relation IS NULL THEN
    RETURN NULL;
  END IF;
  EXECUTE format('LOCK TABLE ONLY %I.%I IN ACCESS SHARE MODE', place, called);
  RETURN EXISTS (
    SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind = 'r' AND NOT c.relrowsecurity AND NOT c.relhasrules
      AND c.relname = called AND cardinality(texts || bytes) = (
        SELECT count(*) FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
          AND ((a.attname = ANY (texts) AND a.atttypid = 'pg_catalog.text'::regtype)
            OR (a.attname = ANY (bytes) AND a.atttypid = 'pg_catalog.bytea'::regtype)))
      AND NOT EXISTS (SELECT FROM pg_proc f WHERE f.proowner = c.relowner AND c.relowner <> current_user::regrole)
  );
END $$;

-- Return of each session who it is linked as and a mark that two copies of one session share; neither key is told.
CREATE OR REPLACE FUNCTION orchestrator_admin.look(place text)
RETURNS TABLE (is_there boolean, is_readable boolean, jid text, mark text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  plain boolean := orchestrator_admin.is_plain(place, 'whatsmeow_device', '{jid}', '{noise_key,identity_key}');
BEGIN
  IF plain IS NULL THEN
    RETURN QUERY SELECT EXISTS (
      SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = place
    ), true, NULL::text, NULL::text;
  ELSIF NOT plain THEN
    RETURN QUERY SELECT true, false, NULL::text, NULL::text;
  ELSE
    RETURN QUERY EXECUTE format(
      'SELECT true, true, d.jid, encode(sha256(convert_to(concat_ws('' '', encode(convert_to(d.jid, ''UTF8''), ''hex''),'
      ' encode(d.noise_key, ''hex''), encode(d.identity_key, ''hex'')), ''UTF8'')), ''hex'')'
      ' FROM ONLY %I.whatsmeow_device d ORDER BY d.ctid LIMIT 1', place);
    IF NOT FOUND THEN
      RETURN QUERY SELECT true, true, NULL::text, NULL::text;
    END IF;
  END IF;
END $$;

-- Return of messages that an account was sending which of them have left: first a row with who is linked, then a row
-- for each that the session has the secret of. No row at all: nothing is certain. No secret is told: it is asked for by
-- what stands for it, as `messages/loss.py` makes that, and so it is answered.
CREATE OR REPLACE FUNCTION orchestrator_admin.sent(id text, wanted bytea[])
RETURNS TABLE (jid text, digest bytea, message_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  own text;
  hidden text;
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(id, 'a');
  IF wanted IS NULL OR cardinality(wanted) > 10000 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'too many messages at once';
  END IF;
  IF orchestrator_admin.is_plain(id, 'whatsmeow_device', '{jid,lid}', '{}') IS NOT TRUE
    OR orchestrator_admin.is_plain(
      id, 'whatsmeow_message_secrets', '{our_jid,sender_jid,message_id}', '{key}') IS NOT TRUE THEN
    RETURN;
  END IF;
  EXECUTE format('SELECT d.jid, d.lid FROM ONLY %I.whatsmeow_device d ORDER BY d.ctid LIMIT 1', id) INTO own, hidden;
  IF own IS NULL OR own = '' THEN
    RETURN;
  END IF;
  RETURN QUERY SELECT own, NULL::bytea, NULL::text;
  RETURN QUERY EXECUTE format(
    'SELECT $1, s.digest, s.id FROM ('
    'SELECT left(m.message_id, 200) AS id, substring(sha256($4 || m.key) FROM 1 FOR 16) AS digest'
    ' FROM ONLY %I.whatsmeow_message_secrets m WHERE m.our_jid = $1 AND octet_length(m.key) = 32'
    ' AND split_part(split_part(split_part(m.sender_jid, ''@'', 1), '':'', 1), ''.'', 1) = ANY ($3)'
    ') s WHERE s.digest = ANY ($2)', id)
    USING own, wanted, ARRAY(
      SELECT split_part(split_part(split_part(one, '@', 1), ':', 1), '.', 1)
      FROM unnest(ARRAY[own, coalesce(nullif(hidden, ''), own)]) one
    ), convert_to('message secret', 'UTF8') || '\x00'::bytea;
END $$;

-- Return of the messages that an account has decrypted those since a place, so that nobody loses one without knowing.
-- First a row with who is linked. Then the last of all rows, and the last up to the place; then those since, newest
-- first; then who is who of all that occur. No row at all: nothing is certain. No secret is told, but what stands for it.
-- A place is the number of the transaction that has written the row: the library only adds rows, one a transaction. It
-- adds them at the end of the table or nearly so, and no more than the end is looked at, for others wait meanwhile.
CREATE OR REPLACE FUNCTION orchestrator_admin.heard(id text, since bigint, most int)
RETURNS TABLE (what text, place bigint, chat text, sender text, message_id text, digest bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  own text;
  hidden text;
  next bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
  pages bigint;
  rows text;
BEGIN
  PERFORM orchestrator_admin.check_caller();
  PERFORM orchestrator_admin.check_id(id, 'a');
  IF most IS NULL OR most NOT BETWEEN 1 AND 10000 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'too many messages at once';
  END IF;
  IF orchestrator_admin.is_plain(id, 'whatsmeow_device', '{jid,lid}', '{}') IS NOT TRUE
    OR orchestrator_admin.is_plain(id, 'whatsmeow_lid_map', '{lid,pn}', '{}') IS NOT TRUE
    OR orchestrator_admin.is_plain(
      id, 'whatsmeow_message_secrets', '{our_jid,chat_jid,sender_jid,message_id}', '{key}') IS NOT TRUE THEN
    RETURN;
  END IF;
  EXECUTE format('SELECT left(d.jid, 300), left(d.lid, 300) FROM ONLY %I.whatsmeow_device d ORDER BY d.ctid LIMIT 1', id)
    INTO own, hidden;
  IF own IS NULL OR own = '' THEN
    RETURN;
  END IF;
  RETURN QUERY SELECT 'own', NULL::bigint, own, hidden, NULL::text, NULL::bytea;
  pages := pg_relation_size(format('%I.whatsmeow_message_secrets', id)) / current_setting('block_size')::bigint;
  rows := format(
    'SELECT $1 - mod($1 - m.xmin::text::bigint + 4294967296, 4294967296) AS place, m.ctid AS at, left(m.chat_jid, 300) AS chat, left(m.sender_jid, 300) AS sender,'
    ' left(m.message_id, 200) AS message_id, m.key FROM ONLY %I.whatsmeow_message_secrets m'
    ' WHERE m.ctid >= ''(%s,0)''::tid AND m.our_jid = $2', id, greatest(0, pages - 500));
  RETURN QUERY EXECUTE format(
    '(SELECT ''last'', r.place, r.chat, r.sender, r.message_id, NULL::bytea FROM (%1$s) r'
    ' ORDER BY r.place DESC, r.at DESC LIMIT 1) UNION ALL'
    ' (SELECT ''mark'', r.place, r.chat, r.sender, r.message_id, NULL::bytea FROM (%1$s) r WHERE r.place <= $3'
    ' ORDER BY r.place DESC, r.at DESC LIMIT 1) UNION ALL'
    ' (SELECT ''message'', r.place, r.chat, r.sender, r.message_id, substring(sha256($5 || r.key) FROM 1 FOR 16)'
    ' FROM (%1$s) r WHERE r.place > $3 ORDER BY r.place DESC, r.at DESC LIMIT $4)', rows)
    USING next, own, since, most, convert_to('message secret', 'UTF8') || '\x00'::bytea;
  RETURN QUERY EXECUTE format(
    'WITH users AS (SELECT DISTINCT split_part(split_part(split_part(one, ''@'', 1), '':'', 1), ''.'', 1) AS name'
    ' FROM (SELECT r.place, r.chat, r.sender FROM (%s) r WHERE r.place > $3 ORDER BY r.place DESC, r.at DESC LIMIT $4) r,'
    ' unnest(ARRAY[r.chat, r.sender]) one)'
    ' SELECT ''person'', NULL::bigint, left(p.lid, 300), left(p.pn, 300), NULL::text, NULL::bytea'
    ' FROM ONLY %I.whatsmeow_lid_map p WHERE p.lid IN (SELECT name FROM users) OR p.pn IN (SELECT name FROM users)',
    rows, id) USING next, own, since, most;
END $$;

DO $$
DECLARE one regprocedure;
BEGIN
  FOR one IN SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'orchestrator_admin'::regnamespace
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', one, @admin_name@);
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION
  orchestrator_admin.make_account(text, text), orchestrator_admin.lock_account(text),
  orchestrator_admin.end_backends(text), orchestrator_admin.backends(text),
  orchestrator_admin.put_away(text, text), orchestrator_admin.put_back(text, text),
  orchestrator_admin.drop_session(text), orchestrator_admin.look(text),
  orchestrator_admin.sent(text, bytea[]), orchestrator_admin.heard(text, bigint, int)
TO @control@;
COMMENT ON SCHEMA orchestrator_admin IS 'orchestrator 2';
