-- What ingest did with each range of offsets, by producer: the account, and the memory of which sequences are in.
CREATE TABLE IF NOT EXISTS {{table:ingest_ledger}} {{on_cluster}}
(
    topic LowCardinality(String),
    partition UInt32 CODEC(ZSTD(1)),
    producer LowCardinality(String),
    last_sequence UInt64 CODEC(Delta, ZSTD(1)),
    start_offset UInt64 CODEC(Delta, ZSTD(1)),
    end_offset UInt64 CODEC(Delta, ZSTD(1)),
    batches UInt32 CODEC(ZSTD(1)),
    rows UInt64 CODEC(ZSTD(1)),
    duplicates UInt32 CODEC(ZSTD(1)),
    dead UInt32 CODEC(ZSTD(1)),
    at DateTime64(3) CODEC(Delta, ZSTD(1))
)
ENGINE = {{engine:MergeTree}}
PARTITION BY toDate(at)
ORDER BY (topic, partition, producer, start_offset)
TTL toDateTime(at) + toIntervalDay({{ttl_days:ingest_ledger}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:ingest_ledger:cityHash64(topic, partition)}};

-- A detector's state at an offset (version), as base64 of its bytes.
CREATE TABLE IF NOT EXISTS {{table:detector_snapshots}} {{on_cluster}}
(
    name LowCardinality(String),
    key String,
    version UInt64,
    state String CODEC(ZSTD(1)),
    at DateTime64(3)
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(at)
ORDER BY (name, key)
TTL toDateTime(at) + toIntervalDay({{ttl_days:detector_snapshots}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:detector_snapshots:cityHash64(name, key)}};
