-- What analysts do: a queue by money at risk, a time until which an alert sleeps, and a trail that only grows.

ALTER TABLE alerts ADD COLUMN snoozed_until timestamptz;

-- Money at risk in minor units of the alert's own currency: amount times probability. Without a score the whole amount
-- is at risk. One index for each way in; all of them hold open alerts only, so that they stay as long as the queue.
CREATE FUNCTION at_risk_minor(amount_minor bigint, score real) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN amount_minor * coalesce(score::double precision, 1);

CREATE INDEX alerts_at_risk ON alerts (coalesce(currency, ''), at_risk_minor(amount_minor, score) DESC, transaction_id)
    WHERE status <> 'closed';
-- What is added up by group lies beside its key, so that the alerts themselves are not read.
CREATE INDEX alerts_open_customer ON alerts (customer_id, currency)
    INCLUDE (amount_minor, score, decided_time, snoozed_until, action) WHERE status <> 'closed';
CREATE INDEX alerts_open_device ON alerts (device_id, currency)
    INCLUDE (amount_minor, score, decided_time, snoozed_until, action)
    WHERE status <> 'closed' AND device_id IS NOT NULL;
CREATE INDEX alerts_open_merchant ON alerts (merchant_id, currency)
    INCLUDE (amount_minor, score, decided_time, snoozed_until, action)
    WHERE status <> 'closed' AND merchant_id IS NOT NULL;
CREATE INDEX alerts_closed ON alerts (status_time DESC, transaction_id DESC) WHERE status = 'closed';

-- Every figure by day reads labels and alerts of some days.
CREATE INDEX alerts_event_time ON alerts (event_time);
CREATE INDEX labels_event_time ON labels (event_time) WHERE is_fraud;

CREATE TABLE audit (
    audit_id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    done_time         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor             text        NOT NULL,
    transaction_id    text COLLATE "C" NOT NULL,
    what              text        NOT NULL CHECK (what IN ('verdict', 'snooze', 'note')),
    from_state        text        NOT NULL,
    to_state          text        NOT NULL,
    note              text,
    label_offset      bigint
);
CREATE INDEX audit_transaction ON audit (transaction_id, audit_id);

CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the table audit only grows: % is refused', TG_OP;
END
$$;
CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows();
