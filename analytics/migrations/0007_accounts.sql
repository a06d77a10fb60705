-- The account of each producer, in rows, carried from range to range: it is whole when the rows before have long gone. Rows from before these
-- columns say by since_sequence that their totals do not begin at the producer's beginning.
ALTER TABLE {{table:ingest_ledger}} {{on_cluster}}
    ADD COLUMN IF NOT EXISTS host LowCardinality(String) CODEC(ZSTD(1)) AFTER producer,
    ADD COLUMN IF NOT EXISTS duplicate_rows UInt64 CODEC(ZSTD(1)) AFTER duplicates,
    ADD COLUMN IF NOT EXISTS dead_rows UInt64 CODEC(ZSTD(1)) AFTER dead,
    ADD COLUMN IF NOT EXISTS since_sequence UInt64 DEFAULT last_sequence CODEC(ZSTD(1)) AFTER dead_rows,
    ADD COLUMN IF NOT EXISTS total_rows UInt64 CODEC(Delta, ZSTD(1)) AFTER since_sequence,
    ADD COLUMN IF NOT EXISTS total_dead_rows UInt64 CODEC(Delta, ZSTD(1)) AFTER total_rows;

{{distributed_again:ingest_ledger:cityHash64(topic, partition)}};

-- The newest account of each process that takes telemetry from senders of other makes.
CREATE TABLE IF NOT EXISTS {{table:gateways}} {{on_cluster}}
(
    gateway String,
    host_name LowCardinality(String),
    at DateTime64(3),
    version UInt64,
    record String CODEC(ZSTD(3))
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(at)
ORDER BY gateway
TTL toDateTime(at) + toIntervalDay({{ttl_days:heartbeats}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:gateways:cityHash64(gateway)}};
