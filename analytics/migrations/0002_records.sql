-- Projections of the JSON records on the bus: the newest version of each key, version being its offset there. `record` is the whole
-- record; the columns beside it are what is searched by. ReplacingMergeTree merges within a day, so readers take the newest by key.

CREATE TABLE IF NOT EXISTS {{table:findings}} {{on_cluster}}
(
    finding_id String,
    rule LowCardinality(String),
    detector LowCardinality(String),
    state LowCardinality(String),
    severity LowCardinality(String),
    category LowCardinality(String),
    host_name LowCardinality(String),
    service_name LowCardinality(String),
    started_at DateTime64(3),
    detected_at DateTime64(3),
    version UInt64,
    record String CODEC(ZSTD(3))
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(started_at)
ORDER BY finding_id
TTL toDateTime(started_at) + toIntervalDay({{ttl_days:findings}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:findings:cityHash64(finding_id)}};

CREATE TABLE IF NOT EXISTS {{table:incidents}} {{on_cluster}}
(
    incident_id String,
    state LowCardinality(String),
    severity LowCardinality(String),
    title String CODEC(ZSTD(1)),
    host_name LowCardinality(String),
    service_name LowCardinality(String),
    started_at DateTime64(3),
    detected_at DateTime64(3),
    opened_at DateTime64(3),
    version UInt64,
    record String CODEC(ZSTD(3))
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(opened_at)
ORDER BY incident_id
TTL toDateTime(opened_at) + toIntervalDay({{ttl_days:incidents}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:incidents:cityHash64(incident_id)}};

CREATE TABLE IF NOT EXISTS {{table:remediation_runs}} {{on_cluster}}
(
    run_id String,
    incident_id String,
    runbook LowCardinality(String),
    state LowCardinality(String),
    host_name LowCardinality(String),
    proposed_at DateTime64(3),
    version UInt64,
    record String CODEC(ZSTD(3))
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(proposed_at)
ORDER BY run_id
TTL toDateTime(proposed_at) + toIntervalDay({{ttl_days:remediation_runs}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:remediation_runs:cityHash64(run_id)}};

-- A command that was never begun has no time of its own (at = 0): what it is kept by is when it came here.
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
ORDER BY command_id
TTL received_at + toIntervalDay({{ttl_days:agent_results}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:agent_results:cityHash64(command_id)}};

CREATE TABLE IF NOT EXISTS {{table:heartbeats}} {{on_cluster}}
(
    host_name String,
    state LowCardinality(String),
    at DateTime64(3),
    version UInt64,
    record String CODEC(ZSTD(3))
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(at)
ORDER BY host_name
TTL toDateTime(at) + toIntervalDay({{ttl_days:heartbeats}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:heartbeats:cityHash64(host_name)}};

CREATE TABLE IF NOT EXISTS {{table:notifications}} {{on_cluster}}
(
    delivery_id String,
    incident_id String,
    receiver LowCardinality(String),
    state LowCardinality(String),
    created_at DateTime64(3),
    version UInt64,
    record String CODEC(ZSTD(3))
)
ENGINE = {{engine:ReplacingMergeTree:version}}
PARTITION BY toDate(created_at)
ORDER BY delivery_id
TTL toDateTime(created_at) + toIntervalDay({{ttl_days:notifications}})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, {{deduplication_window}};

{{distributed:notifications:cityHash64(delivery_id)}};
