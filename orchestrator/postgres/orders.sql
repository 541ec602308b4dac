-- Orders of operators for accounts that another machine runs. `cluster/orders.py` says why each step is as it is.
-- `schema.py` runs the steps; one that was released never changes.
-- version 1

-- An order, until whoever has given it has read the answer. It has no text of a message, no number and no secret.
CREATE TABLE orchestrator.wanted (
  id uuid PRIMARY KEY,
  account text NOT NULL REFERENCES orchestrator.account (id) ON DELETE CASCADE,
  login name NOT NULL,
  command text NOT NULL CHECK (command ~ '^[a-z_]{1,30}$'),
  arguments json NOT NULL CHECK (octet_length(arguments::text) <= 512),
  by_whom text NOT NULL CHECK (octet_length(by_whom) <= 400),
  asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  taken_by uuid,
  epoch bigint,
  taken_at timestamptz,
  answer json CHECK (octet_length(answer::text) <= 16384)
);
CREATE INDEX wanted_account ON orchestrator.wanted (account) WHERE taken_by IS NULL;

-- Give orders, one an account. Returns those that were given: the database knows their accounts. NULL if there is
-- no room for them.
CREATE FUNCTION orchestrator.order_give(ids uuid[], names text[], what text, how json, who text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM orchestrator.wanted WHERE asked_at < clock_timestamp() - interval '120 seconds';
  IF (SELECT count(*) FROM orchestrator.wanted) + cardinality(ids) > 5000 THEN
    RETURN NULL;
  END IF;
  INSERT INTO orchestrator.wanted (id, account, login, command, arguments, by_whom)
    SELECT one.id, a.id, session_user, what, how, who
    FROM unnest(ids, names) AS one (id, name) JOIN orchestrator.account a ON a.name = one.name
    ON CONFLICT DO NOTHING;
  PERFORM pg_notify('orchestrator_order', '');
  RETURN (SELECT coalesce(jsonb_agg(w.id), '[]') FROM orchestrator.wanted w WHERE w.id = ANY (ids));
END $$;

-- Take the orders for accounts that a shard owns.
CREATE FUNCTION orchestrator.order_take(which uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found jsonb;
BEGIN
  IF NOT orchestrator.lease_is_good(which) THEN
    RETURN '[]';
  END IF;
  WITH taken AS (
    UPDATE orchestrator.wanted w
      SET taken_by = which, epoch = l.epoch, taken_at = clock_timestamp()
      FROM orchestrator.lease l
      WHERE l.account = w.account AND l.incarnation = which AND w.taken_by IS NULL AND w.login = session_user
        AND w.asked_at > clock_timestamp() - interval '5 seconds'
      RETURNING w.id, w.account, w.command, w.arguments, w.by_whom, w.asked_at
  )
  SELECT coalesce(jsonb_agg(jsonb_build_array(t.id, a.name, t.command, t.arguments, t.by_whom)
    ORDER BY t.asked_at), '[]')
    INTO found FROM taken t JOIN orchestrator.account a ON a.id = t.account;
  RETURN found;
END $$;

-- Answer an order. Returns whether the shard may still do so.
CREATE FUNCTION orchestrator.order_answer(which uuid, what uuid, said json) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT orchestrator.lease_is_good(which) THEN
    RETURN false;
  END IF;
  UPDATE orchestrator.wanted w SET answer = said
    FROM orchestrator.lease l
    WHERE w.id = what AND w.taken_by = which AND w.answer IS NULL AND l.account = w.account
      AND w.taken_at > clock_timestamp() - interval '34 seconds'
      AND (l.incarnation IS NULL OR (l.incarnation = which AND l.epoch = w.epoch));
  IF FOUND THEN
    PERFORM pg_notify('orchestrator_order', '');
  END IF;
  RETURN FOUND;
END $$;

-- How orders are: whether each is taken, whether whoever has taken it can still answer, the answer, for how long it
-- has waited, and who owns the account.
CREATE FUNCTION orchestrator.order_look(ids uuid[]) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_array(
      w.id, w.answer,
      extract(epoch FROM w.asked_at)::float8, extract(epoch FROM w.taken_at)::float8,
      extract(epoch FROM clock_timestamp())::float8,
      w.taken_by, w.epoch,
      EXISTS (SELECT FROM orchestrator.shard g WHERE g.incarnation = w.taken_by AND g.until > clock_timestamp()),
      l.incarnation, l.epoch, s.name,
      extract(epoch FROM clock_timestamp() - s.until + interval '12 seconds')::float8
    )), '[]')
  FROM orchestrator.wanted w JOIN orchestrator.lease l ON l.account = w.account
  LEFT JOIN orchestrator.shard s ON s.incarnation = l.incarnation
  WHERE w.id = ANY (ids)
$$;

-- Take orders back that nobody has taken. Returns which.
CREATE FUNCTION orchestrator.order_withdraw(ids uuid[]) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found jsonb;
BEGIN
  WITH gone AS (
    DELETE FROM orchestrator.wanted w WHERE w.id = ANY (ids) AND w.taken_by IS NULL RETURNING w.id
  )
  SELECT coalesce(jsonb_agg(id), '[]') INTO found FROM gone;
  RETURN found;
END $$;

-- Delete orders that are over for whoever has given them.
CREATE FUNCTION orchestrator.order_forget(ids uuid[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM orchestrator.wanted WHERE id = ANY (ids);
END $$;

REVOKE ALL ON orchestrator.wanted FROM PUBLIC;
DO $$
DECLARE one regprocedure;
BEGIN
  FOR one IN SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'orchestrator'::regnamespace AND p.proname LIKE 'order\_%'
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
  END LOOP;
END $$;
