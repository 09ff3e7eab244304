-- To find transactions by id, customer or merchant: of each 32 pages a Bloom filter of the values in them.
--
-- A B-tree of random keys more than doubles what a row costs the writer; these cost it little, because a filter is made
-- of whole pages, later, by the writer's other connection (postgres.lookup_indexes). Pages without one are read.
-- 1,400 is about the rows of 32 pages. New days get these indexes with their table; older ones from that connection.

CREATE INDEX transactions_by_id ON ONLY transactions USING brin
    (transaction_id text_bloom_ops (n_distinct_per_range = 1400, false_positive_rate = 0.001)) WITH (pages_per_range = 32);
CREATE INDEX transactions_by_customer ON ONLY transactions USING brin
    (customer_id text_bloom_ops (n_distinct_per_range = 1400, false_positive_rate = 0.01)) WITH (pages_per_range = 32);
CREATE INDEX transactions_by_merchant ON ONLY transactions USING brin
    (merchant_id text_bloom_ops (n_distinct_per_range = 1400, false_positive_rate = 0.01)) WITH (pages_per_range = 32);
