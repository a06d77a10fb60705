-- The batches that a range added to its producer's totals: with them the account is known at every sequence, so that it can be compared with what
-- a sender tells while more is on its way.
ALTER TABLE {{table:ingest_ledger}} {{on_cluster}}
    ADD COLUMN IF NOT EXISTS sequences Array(UInt64) CODEC(Delta, ZSTD(1)) AFTER total_dead_rows,
    ADD COLUMN IF NOT EXISTS sequence_rows Array(UInt32) CODEC(ZSTD(1)) AFTER sequences;

{{distributed_again:ingest_ledger:cityHash64(topic, partition)}};
