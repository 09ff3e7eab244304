-- The same rows with names in place of codes, for people and for the dashboard.

CREATE FUNCTION action_name(code smallint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (ARRAY['approve', 'review', 'block'])[code];

CREATE FUNCTION channel_name(code smallint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (ARRAY['card_present', 'contactless', 'ecommerce', 'moto', 'atm', 'transfer', 'wallet'])[code];

CREATE FUNCTION hash_name(prefix bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lpad(to_hex(prefix), 16, '0');

CREATE VIEW transactions_named AS
SELECT transaction_id, event_time, decided_time, latency_micros, customer_id, card_id, device_id, merchant_id,
       ip_address, amount_minor, currency, channel_name(channel) AS channel, merchant_category, country, latitude,
       longitude, score, anomaly, action_name(action) AS action, flags, flags & 2 <> 0 AS late,
       flags & 4 <> 0 AS coarse, flags & 8 <> 0 AS without_model, reasons, features,
       hash_name(model) AS model, hash_name(catalogue) AS catalogue, source_partition, source_offset,
       decision_offset
FROM transactions;

CREATE VIEW alerts_named AS
SELECT transaction_id, event_time, decided_time, customer_id, card_id, device_id, merchant_id, ip_address,
       amount_minor, currency, channel_name(channel) AS channel, merchant_category, country, score, anomaly,
       action_name(action) AS action, flags, reasons, decision_offset, status, verdict, analyst, note, status_time
FROM alerts;
