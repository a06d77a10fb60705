-- OpenTelemetry's further fields of a log record. A record's attributes are its own from here on: its resource's are in log_resources.
ALTER TABLE {{table:logs}} {{on_cluster}}
    ADD COLUMN IF NOT EXISTS observed_timestamp DateTime64(9) CODEC(Delta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS severity_text LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS event_name LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS scope_name LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS trace_flags UInt8 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS resource_id UInt64 CODEC(ZSTD(1)),
    MODIFY COLUMN body String CODEC(ZSTD(3)),
    MODIFY COLUMN attributes Map(LowCardinality(String), String) CODEC(ZSTD(3));

-- Words are looked for as hasToken(lower(body), word): the same answer by whichever index, by none, and in parts that have none yet.
-- docs/reference/text-index.md has what each kind costs and saves.
ALTER TABLE {{table:logs}} {{on_cluster}}
    DROP INDEX IF EXISTS body_text,
    ADD INDEX IF NOT EXISTS body_words lower(body) TYPE {{word_index}};

ALTER TABLE {{table:logs}} {{on_cluster}}
    MATERIALIZE INDEX IF EXISTS body_words;

{{distributed_again:logs:cityHash64(host_name, service_name)}};

-- Told like series: when new, and every ten minutes.
CREATE TABLE IF NOT EXISTS {{table:log_resources}} {{on_cluster}}
(
    resource_id UInt64 CODEC(ZSTD(1)),
    seen_at DateTime64(3) CODEC(Delta, ZSTD(1)),
    host_name LowCardinality(String) CODEC(ZSTD(1)),
    service_name LowCardinality(String) CODEC(ZSTD(1)),
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(1))
)
ENGINE = {{engine:ReplacingMergeTree:seen_at}}
PARTITION BY toDate(seen_at)
ORDER BY (service_name, host_name, resource_id)
TTL toDateTime(seen_at) + toIntervalDay({{ttl_days:log_resources}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:log_resources:cityHash64(host_name, service_name)}};

CREATE TABLE IF NOT EXISTS {{table:metric_histograms}} {{on_cluster}}
(
    metric_id UInt64 CODEC(Delta, ZSTD(1)),
    fingerprint UInt64 CODEC(Delta, ZSTD(1)),
    timestamp DateTime64(3) CODEC(Delta, ZSTD(1, 22)) SETTINGS (min_compress_block_size = 1048576, max_compress_block_size = 1048576),
    count Float64 CODEC(Delta, ZSTD(1)),
    sum Float64 CODEC(FPC, ZSTD(1)),
    min Float64 CODEC(FPC, ZSTD(1)),
    max Float64 CODEC(FPC, ZSTD(1)),
    bounds Array(Float64) CODEC(ZSTD(1)),
    counts Array(Float64) CODEC(Delta, ZSTD(1))
)
ENGINE = {{engine:MergeTree}}
PARTITION BY toDate(timestamp)
ORDER BY (metric_id, fingerprint, timestamp)
TTL toDateTime(timestamp) + toIntervalDay({{ttl_days:metric_histograms}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:metric_histograms:fingerprint}};

-- What computers measure are mostly whole numbers and short decimals, and as such they pack: `value` is scaled / divisor wherever that gives back
-- every bit of it (divisor 1, 100, 10000), and `raw` where it does not, or where the row is older than this (divisor 0). The insert splits it
-- (analytics/src/migrations/native-insert.ts); readers see `value`, and
-- give no other expression that name beside the table (Distributed tables hand the expression on under it). `npm run bench -- storage` shows what
-- it saves.
ALTER TABLE {{table:metric_samples}} {{on_cluster}}
    RENAME COLUMN value TO raw,
    ADD COLUMN divisor UInt16 CODEC(ZSTD(1)),
    ADD COLUMN scaled Int64 CODEC(Delta, T64('bit'), ZSTD(1)),
    ADD COLUMN value Float64 ALIAS if(divisor = 0, raw, scaled / divisor);

-- The series of one scrape have the same times: a long window finds them again, in blocks that one thread opens in a millisecond.
ALTER TABLE {{table:metric_samples}} {{on_cluster}}
    MODIFY COLUMN timestamp DateTime64(3) CODEC(Delta, ZSTD(1, 22)) SETTINGS (min_compress_block_size = 1048576, max_compress_block_size = 1048576),
    MODIFY COLUMN raw Float64 CODEC(FPC, ZSTD(1));

{{distributed_again:metric_samples:fingerprint}};
