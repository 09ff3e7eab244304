-- What the engine decided, what an analyst has to look at, what became known, and how far each writer has come.
-- docs/contract.md describes every column; fixed widths come first, so that a row has no padding.

CREATE TABLE transactions (
    event_time        timestamptz NOT NULL,
    decided_time      timestamptz NOT NULL,
    amount_minor      bigint      NOT NULL,
    source_offset     bigint      NOT NULL,
    decision_offset   bigint      NOT NULL,
    model             bigint,
    catalogue         bigint,
    latitude          double precision,
    longitude         double precision,
    score             real,
    anomaly           real,
    source_partition  integer     NOT NULL,
    latency_micros    integer     NOT NULL,
    action            smallint    NOT NULL,
    flags             smallint    NOT NULL,
    channel           smallint,
    merchant_category smallint,
    transaction_id    text COLLATE "C" NOT NULL,
    customer_id       text COLLATE "C" NOT NULL,
    card_id           text COLLATE "C",
    device_id         text COLLATE "C",
    merchant_id       text COLLATE "C",
    ip_address        text COLLATE "C",
    currency          text COLLATE "C",
    country           text COLLATE "C",
    reasons           jsonb,
    features          real[],
    -- Event time first: rows arrive nearly in its order, so the index grows at its right end.
    PRIMARY KEY (event_time, transaction_id)
) PARTITION BY RANGE (event_time);

-- Rows of days for which there is no partition because there are too many of them already.
CREATE TABLE transactions_other PARTITION OF transactions DEFAULT;

CREATE TABLE alerts (
    event_time        timestamptz NOT NULL,
    decided_time      timestamptz NOT NULL,
    amount_minor      bigint      NOT NULL,
    decision_offset   bigint      NOT NULL,
    score             real,
    anomaly           real,
    action            smallint    NOT NULL,
    flags             smallint    NOT NULL,
    channel           smallint,
    merchant_category smallint,
    transaction_id    text COLLATE "C" NOT NULL PRIMARY KEY,
    customer_id       text COLLATE "C" NOT NULL,
    card_id           text COLLATE "C",
    device_id         text COLLATE "C",
    merchant_id       text COLLATE "C",
    ip_address        text COLLATE "C",
    currency          text COLLATE "C",
    country           text COLLATE "C",
    reasons           jsonb,
    status            text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'assigned', 'closed')),
    verdict           text        CHECK (verdict IN ('fraud', 'legitimate')),
    analyst           text,
    note              text,
    status_time       timestamptz
);
CREATE INDEX alerts_decided_time ON alerts (decided_time);
CREATE INDEX alerts_customer ON alerts (customer_id, event_time);

CREATE TABLE labels (
    transaction_id    text COLLATE "C" NOT NULL PRIMARY KEY,
    event_time        timestamptz NOT NULL,
    customer_id       text COLLATE "C" NOT NULL,
    amount_minor      bigint      NOT NULL,
    currency          text COLLATE "C",
    is_fraud          boolean     NOT NULL,
    known_time        timestamptz NOT NULL,
    label_offset      bigint      NOT NULL
);

CREATE TABLE sink_progress (
    sink              text        NOT NULL,
    topic             text        NOT NULL,
    partition         integer     NOT NULL,
    next_offset       bigint      NOT NULL,
    generation        bigint      NOT NULL,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, topic, partition)
) WITH (fillfactor = 10);
