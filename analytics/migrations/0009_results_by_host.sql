-- A dispatch has one command_id for all its hosts: ordered by that alone, the result of one of them stood for all. A sorting key cannot be
-- changed, so the table is made anew.
DROP TABLE IF EXISTS {{table:agent_results}} {{on_cluster}} SYNC;

CREATE TABLE IF NOT EXISTS {{table:agent_results}} {{on_cluster}}
(
    command_id String,
    host_name LowCardinality(String),
    executor LowCardinality(String),
    state LowCardinality(String),
    at DateTime64(3),
    version UInt64,
    record String CODEC(ZSTD(3)),
    received_at DateTime DEFAULT now()
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(received_at)
ORDER BY (command_id, host_name)
TTL received_at + toIntervalDay({{ttl_days:agent_results}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed_again:agent_results:cityHash64(command_id)}};
