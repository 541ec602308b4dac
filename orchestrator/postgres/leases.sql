-- Who owns which account. `leases.py` asks, and `cluster/machine.py` decides what.
-- `schema.py` runs the steps; one that was released never changes.
-- version 1

-- The shards that have a lease. A lease that has ended is deleted by the first who looks, and never made longer.
CREATE TABLE orchestrator.shard (
  name text PRIMARY KEY CHECK (name ~ '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$'),
  incarnation uuid NOT NULL UNIQUE,
  login name NOT NULL,
  host text NOT NULL CHECK (octet_length(host) <= 255),
  version text NOT NULL CHECK (octet_length(version) <= 100),
  capacity int NOT NULL CHECK (capacity > 0),
  until timestamptz NOT NULL,
  made_at timestamptz NOT NULL,
  connected int NOT NULL DEFAULT 0,
  willing boolean NOT NULL DEFAULT true,
  failing_over boolean NOT NULL DEFAULT false
);

-- The shards that an operator wants to own nothing, whether they run or not.
CREATE TABLE orchestrator.drained (
  shard text PRIMARY KEY CHECK (octet_length(shard) <= 63),
  since timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The owner of each account. `since` is when it lost its owner, and `was_owned` whether it has had one.
CREATE TABLE orchestrator.lease (
  account text PRIMARY KEY REFERENCES orchestrator.account (id) ON DELETE CASCADE,
  incarnation uuid REFERENCES orchestrator.shard (incarnation),
  epoch bigint NOT NULL DEFAULT 0,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  was_owned boolean NOT NULL DEFAULT false,
  reserved text,
  target text,
  fence bigint NOT NULL DEFAULT 0
);
CREATE INDEX lease_incarnation ON orchestrator.lease (incarnation);

CREATE FUNCTION orchestrator.lease_of_account() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO orchestrator.lease (account) VALUES (NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER lease_of_account AFTER INSERT ON orchestrator.account
  FOR EACH ROW EXECUTE FUNCTION orchestrator.lease_of_account();
INSERT INTO orchestrator.lease (account) SELECT id FROM orchestrator.account;

-- The shard that an account without an owner waits for, NULL if it is for anybody. A shard without a lease is nobody.
CREATE FUNCTION orchestrator.lease_waits_for(l orchestrator.lease, at timestamptz) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT s.name FROM orchestrator.shard s
  WHERE l.incarnation IS NULL AND l.since > at - interval '10 seconds'
    AND s.name = coalesce(l.reserved, l.target)
$$;

-- Give up what a start of a shard owned, and delete its lease.
CREATE FUNCTION orchestrator.lease_end(which uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE orchestrator.lease SET incarnation = NULL, since = clock_timestamp(), was_owned = true, reserved = NULL
    WHERE incarnation = which;
  DELETE FROM orchestrator.shard WHERE incarnation = which;
END $$;

-- Let nobody wait for one who is frozen in the middle of a transaction: the server takes his back.
CREATE FUNCTION orchestrator.lease_in_haste() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('idle_in_transaction_session_timeout', '3s', true);
END $$;

-- Delete the leases that have ended, and end the connections by which their shards watch for that.
CREATE FUNCTION orchestrator.lease_sweep() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE ended orchestrator.shard;
BEGIN
  PERFORM orchestrator.lease_in_haste();
  FOR ended IN
    SELECT * FROM orchestrator.shard WHERE until <= clock_timestamp() FOR UPDATE SKIP LOCKED
  LOOP
    BEGIN
      -- Who still fences an account of this shard holds its row for a moment. Nobody's renewal waits for that.
      PERFORM FROM orchestrator.lease WHERE incarnation = ended.incarnation FOR UPDATE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
      CONTINUE;
    END;
    PERFORM orchestrator.lease_end(ended.incarnation);
    PERFORM orchestrator.lease_hang_up(ended.incarnation, ended.login);
    PERFORM pg_notify('orchestrator_lease', '');
  END LOOP;
END $$;

-- Any role may give its connections any name: only those of the role that has made the lease count.
CREATE FUNCTION orchestrator.lease_hang_up(which uuid, role name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'orchestrator watch ' || which AND usename = role;
END $$;

-- Lock the lease of the one who asks; NULL if there is none that is good, or if it is not the asking role's.
CREATE FUNCTION orchestrator.lease_of(which uuid) RETURNS orchestrator.shard
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found orchestrator.shard;
BEGIN
  PERFORM orchestrator.lease_in_haste();
  SELECT * INTO found FROM orchestrator.shard
    WHERE incarnation = which AND login = session_user AND until > clock_timestamp() FOR UPDATE;
  RETURN found;
END $$;

-- Whether the one who asks has a lease that is good until the end of the transaction.
CREATE FUNCTION orchestrator.lease_is_good(which uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM orchestrator.lease_in_haste();
  PERFORM FROM orchestrator.shard
    WHERE incarnation = which AND login = session_user AND until > clock_timestamp() FOR KEY SHARE;
  RETURN FOUND;
END $$;

CREATE FUNCTION orchestrator.lease_holdings(which uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_array(
      l.account, l.epoch, a.name, l.was_owned AND l.since > clock_timestamp() - interval '60 seconds', l.target
    ) ORDER BY l.account), '[]')
  FROM orchestrator.lease l JOIN orchestrator.account a ON a.id = l.account WHERE l.incarnation = which
$$;

CREATE FUNCTION orchestrator.lease_peers() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH held AS (SELECT incarnation, count(*) AS n FROM orchestrator.lease GROUP BY incarnation),
  coming AS (
    SELECT orchestrator.lease_waits_for(l, clock_timestamp()) AS name, count(*) AS n
    FROM orchestrator.lease l WHERE l.incarnation IS NULL GROUP BY 1
  )
  SELECT coalesce(jsonb_agg(jsonb_build_array(
      s.name, coalesce(h.n, 0), s.capacity, s.connected, s.willing, s.failing_over,
      extract(epoch FROM clock_timestamp() - s.until + interval '12 seconds'), coalesce(c.n, 0), s.host, s.version
    ) ORDER BY s.name), '[]')
  FROM orchestrator.shard s LEFT JOIN held h USING (incarnation) LEFT JOIN coming c USING (name)
$$;

-- What one look shows: all shards, what the asking one owns, and what has no owner.
CREATE FUNCTION orchestrator.lease_board(me orchestrator.shard) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH waiting AS (
    SELECT orchestrator.lease_waits_for(l, clock_timestamp()) AS name, l.since
    FROM orchestrator.lease l WHERE l.incarnation IS NULL
  )
  SELECT jsonb_build_object(
    'peers', orchestrator.lease_peers(),
    'mine', orchestrator.lease_holdings(me.incarnation),
    'free', count(*) FILTER (WHERE w.name IS NULL),
    'free_seconds', coalesce(
      extract(epoch FROM clock_timestamp() - min(w.since) FILTER (WHERE w.name IS NULL)), 0),
    'reserved', count(*) FILTER (WHERE w.name = me.name),
    'drained', EXISTS (SELECT FROM orchestrator.drained d WHERE d.shard = me.name)
  ) FROM waiting w
$$;

-- A shard and a service that has all accounts may start in the same instant: one takes its row after the other, and
-- each looks only then. Who renews a row waits for neither.
CREATE FUNCTION orchestrator.lease_before_others() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOCK TABLE orchestrator.owner IN SHARE UPDATE EXCLUSIVE MODE;
END $$;

-- Make a lease. Returns what the cluster looks like, or who has the lease of that name.
CREATE FUNCTION orchestrator.lease_register(
  shard_name text, which uuid, shard_host text, shard_version text, room int,
  are_connected int, is_willing boolean, fails_over boolean
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  me orchestrator.shard;
  alone text;
BEGIN
  PERFORM orchestrator.lease_in_haste();
  PERFORM orchestrator.lease_before_others();
  alone := (SELECT o.host FROM orchestrator.owner o WHERE o.until > clock_timestamp());
  IF alone IS NOT NULL THEN  -- a service that is no part of a cluster has all accounts
    RETURN jsonb_build_object('taken', alone);
  END IF;
  PERFORM orchestrator.lease_sweep();
  INSERT INTO orchestrator.shard
    (name, incarnation, login, host, version, capacity, until, made_at, connected, willing, failing_over)
    VALUES (shard_name, which, session_user, shard_host, shard_version, room,
      clock_timestamp() + interval '12 seconds', clock_timestamp(), are_connected, is_willing, fails_over)
    ON CONFLICT DO NOTHING;
  me := orchestrator.lease_of(which);
  IF me.name IS DISTINCT FROM shard_name THEN
    RETURN jsonb_build_object('taken', (SELECT s.host FROM orchestrator.shard s WHERE s.name = shard_name));
  END IF;
  RETURN orchestrator.lease_board(me);
END $$;

-- Renew a lease. Returns what the cluster looks like, NULL if the lease has ended.
CREATE FUNCTION orchestrator.lease_renew(
  which uuid, room int, are_connected int, is_willing boolean, fails_over boolean
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE me orchestrator.shard;
BEGIN
  PERFORM orchestrator.lease_sweep();
  UPDATE orchestrator.shard
    SET until = clock_timestamp() + interval '12 seconds', capacity = room, connected = are_connected,
      willing = is_willing, failing_over = fails_over
    WHERE incarnation = which AND login = session_user AND until > clock_timestamp()
    RETURNING * INTO me;
  IF me.name IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN orchestrator.lease_board(me);
END $$;

-- Take accounts that nobody owns. Returns all that the shard owns now, NULL if its lease has ended.
CREATE FUNCTION orchestrator.lease_claim(which uuid, most int, unknown text[]) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  me orchestrator.shard := orchestrator.lease_of(which);
  room int;
BEGIN
  IF me.name IS NULL THEN
    RETURN NULL;
  END IF;
  room := me.capacity - (SELECT count(*) FROM orchestrator.lease l WHERE l.incarnation = which);
  UPDATE orchestrator.lease l
    SET incarnation = which, epoch = l.epoch + 1, reserved = NULL, fence = 0,
      target = CASE WHEN l.target = me.name THEN l.target END
    WHERE l.account IN (
      SELECT f.account FROM orchestrator.lease f
        CROSS JOIN LATERAL (SELECT orchestrator.lease_waits_for(f, clock_timestamp()) AS name) waits
      WHERE f.incarnation IS NULL AND coalesce(waits.name = me.name, true) AND f.account <> ALL (unknown)
      ORDER BY waits.name IS NULL, f.was_owned DESC, f.since, f.account
      LIMIT greatest(0, least(most, room))
      FOR UPDATE OF f SKIP LOCKED
    );
  RETURN orchestrator.lease_holdings(which);
END $$;

-- Give accounts up. Returns those that are kept, because the shard that they were for has no room; NULL if the
-- lease has ended.
CREATE FUNCTION orchestrator.lease_release(which uuid, accounts text[], epochs bigint[], targets text[])
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  me orchestrator.shard;
  other orchestrator.shard;
  kept jsonb := '[]';
  free int;
BEGIN
  -- In the order of their names, so that two shards that hand accounts to each other do not wait for ever.
  PERFORM FROM orchestrator.shard s WHERE s.incarnation = which OR s.name = ANY (targets)
    ORDER BY s.name FOR UPDATE;
  me := orchestrator.lease_of(which);
  IF me.name IS NULL THEN
    RETURN NULL;
  END IF;
  FOR i IN 1 .. coalesce(array_length(accounts, 1), 0) LOOP
    IF targets[i] IS NOT NULL THEN
      SELECT * INTO other FROM orchestrator.shard s
        WHERE s.name = targets[i] AND s.willing AND s.until > clock_timestamp();
      free := other.capacity - (SELECT count(*) FROM orchestrator.lease l WHERE l.incarnation = other.incarnation
        OR orchestrator.lease_waits_for(l, clock_timestamp()) = other.name);
      IF coalesce(free, 0) <= 0 THEN
        kept := kept || to_jsonb(accounts[i]);
        CONTINUE;
      END IF;
    END IF;
    UPDATE orchestrator.lease l
      SET incarnation = NULL, since = clock_timestamp(), was_owned = true, reserved = targets[i],
        target = CASE WHEN l.target = targets[i] THEN l.target END
      WHERE l.account = accounts[i] AND l.incarnation = which AND l.epoch = epochs[i];
  END LOOP;
  PERFORM pg_notify('orchestrator_lease', '');
  RETURN kept;
END $$;

-- Delete a lease whose owner has nothing running any more. Returns whether there was one.
CREATE FUNCTION orchestrator.lease_leave(which uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE me orchestrator.shard := orchestrator.lease_of(which);
BEGIN
  IF me.name IS NULL THEN
    RETURN false;
  END IF;
  PERFORM orchestrator.lease_end(which);
  PERFORM pg_notify('orchestrator_lease', '');
  RETURN true;
END $$;

-- Lock an account for a step by which others are shut out of its session, or its process is let in. Returns whether
-- the shard owns it, in that epoch if one is given, and whether no later step has begun: who is late changes nothing.
CREATE FUNCTION orchestrator.lease_fence(which uuid, what text, in_epoch bigint, attempt bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM orchestrator.lease_in_haste();
  UPDATE orchestrator.lease l SET fence = attempt
    FROM orchestrator.shard s
    WHERE l.account = what AND l.incarnation = which AND l.epoch = coalesce(in_epoch, l.epoch)
      AND l.fence <= attempt
      AND s.incarnation = which AND s.login = session_user AND s.until > clock_timestamp();
  RETURN FOUND;
END $$;

-- What an operator wants.

CREATE FUNCTION orchestrator.lease_drain(shard_name text, is_wanted boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF is_wanted THEN
    INSERT INTO orchestrator.drained (shard) VALUES (shard_name) ON CONFLICT DO NOTHING;
  ELSE
    DELETE FROM orchestrator.drained WHERE shard = shard_name;
  END IF;
  PERFORM pg_notify('orchestrator_lease', '');
END $$;

CREATE FUNCTION orchestrator.lease_move(what text, shard_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_notify('orchestrator_lease', '');
  UPDATE orchestrator.lease SET target = shard_name WHERE account = what;
  RETURN FOUND;
END $$;

-- What all shards know of a version of the client that WhatsApp refuses: `accounts/refusal.py` decides what becomes of
-- it. Without a row, nothing is said against a version.
CREATE TABLE orchestrator.refusal (
  library text PRIMARY KEY CHECK (octet_length(library) BETWEEN 1 AND 100),
  refused text[] NOT NULL DEFAULT '{}' CHECK (cardinality(refused) <= 2),
  since timestamptz,
  wait float8 NOT NULL DEFAULT 0,
  probe_at timestamptz,
  canary uuid,
  account text CHECK (octet_length(account) <= 255),
  until timestamptz,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

REVOKE ALL ON
  orchestrator.shard, orchestrator.drained, orchestrator.lease, orchestrator.refusal
FROM PUBLIC;
DO $$
DECLARE one regprocedure;
BEGIN
  FOR one IN SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'orchestrator'::regnamespace AND p.proname LIKE 'lease\_%'
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
  END LOOP;
END $$;
