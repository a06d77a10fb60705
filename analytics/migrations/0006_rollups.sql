-- Every series by the minute, for graphs over days and for a time when raw samples are gone; a job sums up each minute once it is over and
-- again when samples came late, and the newest summing up replaces the others. `increase` is a counter's rise between the samples of its minute,
-- resets counted from zero; the rise from one minute to the next follows from `last` and `first`, so no minute depends on another.
-- Of a counter `sum`, `min` and `max`, of all others `first` and `increase` are 0: nobody asks for them, and zeros take no room.
CREATE TABLE IF NOT EXISTS {{table:metric_minutes}} {{on_cluster}}
(
    metric_id UInt64 CODEC(Delta, ZSTD(1)),
    fingerprint UInt64 CODEC(Delta, ZSTD(1)),
    minute DateTime CODEC(DoubleDelta, ZSTD(1)),
    count UInt32 CODEC(ZSTD(1)),
    sum Float64 CODEC(ZSTD(1)),
    min Float64 CODEC(ZSTD(1)),
    max Float64 CODEC(ZSTD(1)),
    first Float64 CODEC(ZSTD(1)),
    last Float64 CODEC(ZSTD(1)),
    increase Float64 CODEC(ZSTD(1)),
    version UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(minute)
ORDER BY (metric_id, fingerprint, minute)
TTL minute + toIntervalDay({{ttl_days:metric_minutes}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:metric_minutes:fingerprint}};

-- The same of the hour. Rows from before have count 0: they are left out by who wants sums.
ALTER TABLE {{table:metric_hours}} {{on_cluster}}
    ADD COLUMN IF NOT EXISTS count UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS sum Float64 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS min Float64 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS max Float64 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS first Float64 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS last Float64 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS increase Float64 CODEC(ZSTD(1));

{{distributed_again:metric_hours:fingerprint}};

-- How far the summing up has come, in Unix milliseconds: all that is from `…_from` (0: since ever) until `…_until` is in the rollup, except for what
-- came since the newest row was written. `seen` (of each partition the newest block) and `late` (what is to be done again) are the job's, as JSON.
CREATE TABLE IF NOT EXISTS {{table:metric_rollups}} {{on_cluster}}
(
    source LowCardinality(String),
    at DateTime64(3),
    minutes_from Int64,
    minutes_until Int64,
    hours_from Int64,
    hours_until Int64,
    seen String CODEC(ZSTD(1)),
    late String CODEC(ZSTD(1))
)
ENGINE = {{engine:ReplacingMergeTree:at}}
PARTITION BY toDate(at)
ORDER BY source
TTL toDateTime(at) + toIntervalDay({{ttl_days:metric_rollups}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:metric_rollups:cityHash64(source)}};
