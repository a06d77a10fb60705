-- Telemetry as schemas/src/telemetry.ts has it. Measured on synthetic gauges, counters and constants, bytes a value: ZSTD 2.07,
-- Delta+ZSTD 2.18, Gorilla+ZSTD 3.01, Gorilla 3.21; identifiers sorted: Delta+ZSTD 0.01, ZSTD 0.26; times with 20 ms of
-- jitter: DoubleDelta+ZSTD 1.05 (without jitter 0.01). Search needs the text index: it halves the rows a CPU-second inserts (1.0 M to 0.5 M)
-- and adds 16 bytes to the 21 of such a row; tokenbf costs a third and 2 bytes, and finds rare words only.

CREATE TABLE IF NOT EXISTS {{table:logs}} {{on_cluster}}
(
    timestamp DateTime64(9) CODEC(Delta, ZSTD(1)),
    severity_number UInt8 CODEC(ZSTD(1)),
    service_name LowCardinality(String) CODEC(ZSTD(1)),
    host_name LowCardinality(String) CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    body String CODEC(ZSTD(1)),
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    INDEX body_text body TYPE text(tokenizer = 'splitByNonAlpha', preprocessor = lower(body)),
    INDEX trace_id_bloom trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {{engine:MergeTree}}
PARTITION BY toDate(timestamp)
ORDER BY (service_name, timestamp)
TTL toDateTime(timestamp) + toIntervalDay({{ttl_days:logs}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:logs:cityHash64(host_name, service_name)}};

CREATE TABLE IF NOT EXISTS {{table:metric_series}} {{on_cluster}}
(
    metric_id UInt64 CODEC(Delta, ZSTD(1)),
    fingerprint UInt64 CODEC(ZSTD(1)),
    seen_at DateTime64(3) CODEC(Delta, ZSTD(1)),
    metric_name LowCardinality(String) CODEC(ZSTD(1)),
    kind LowCardinality(String) CODEC(ZSTD(1)),
    unit LowCardinality(String) CODEC(ZSTD(1)),
    host_name LowCardinality(String) CODEC(ZSTD(1)),
    service_name LowCardinality(String) CODEC(ZSTD(1)),
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(1))
)
ENGINE = {{engine:ReplacingMergeTree:seen_at}}
PARTITION BY toDate(seen_at)
ORDER BY (metric_name, fingerprint)
TTL toDateTime(seen_at) + toIntervalDay({{ttl_days:metric_series}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:metric_series:fingerprint}};

CREATE TABLE IF NOT EXISTS {{table:metric_samples}} {{on_cluster}}
(
    metric_id UInt64 CODEC(Delta, ZSTD(1)),
    fingerprint UInt64 CODEC(Delta, ZSTD(1)),
    timestamp DateTime64(3) CODEC(DoubleDelta, ZSTD(1)),
    value Float64 CODEC(ZSTD(1))
)
ENGINE = {{engine:MergeTree}}
PARTITION BY toDate(timestamp)
ORDER BY (metric_id, fingerprint, timestamp)
TTL toDateTime(timestamp) + toIntervalDay({{ttl_days:metric_samples}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:metric_samples:fingerprint}};
