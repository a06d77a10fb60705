-- Every series by the hour: what baselines learn from and forecasts look at. A job sums up each hour once it has ended, and again while late
-- samples may come; the newest summing up of an hour replaces the others. `low`, `median` and `high` are the 5 %, 50 % and 95 % quantiles of
-- the hour's minutes' means (of a counter: rates per second). Not a materialised view: samples are inserted within seconds, quantiles over
-- minutes cannot be merged from blocks of seconds, and a view would not see what is there already.
CREATE TABLE IF NOT EXISTS {{table:metric_hours}} {{on_cluster}}
(
    metric_id UInt64 CODEC(Delta, ZSTD(1)),
    fingerprint UInt64 CODEC(Delta, ZSTD(1)),
    hour DateTime CODEC(DoubleDelta, ZSTD(1)),
    minutes UInt8 CODEC(ZSTD(1)),
    mean Float64 CODEC(ZSTD(1)),
    low Float64 CODEC(ZSTD(1)),
    median Float64 CODEC(ZSTD(1)),
    high Float64 CODEC(ZSTD(1)),
    version UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(hour)
ORDER BY (metric_id, fingerprint, hour)
TTL hour + toIntervalDay({{ttl_days:metric_hours}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:metric_hours:fingerprint}};
