/** The engine's configuration files, as pure text. Names are those of ClickHouse's server and user settings. */

export interface EngineConfiguration {
  /** The one value of the HTTP header that is let in. */
  readonly authorization: string;
  readonly usersPath: string;
  readonly userFilesPath: string;
  readonly temporaryPath: string;
  readonly memoryBytesMax: number;
  /** A second disk for rows that grow old; null where there is none. */
  readonly coldPath: string | null;
}

export interface EngineUsers {
  readonly passwordSha256: string;
  readonly memoryBytesMax: number;
}

/** The one user who may come in over HTTP, and the databases that it owns (every name that begins like this). */
export const APP_USER = "app";
export const DATABASE_PREFIX = "homeostat";

const MIB = 1_048_576;

/** Read-only views on the engine itself that show no other data; everything else in `system` needs a grant that nobody has. */
const SYSTEM_TABLES = [
  "columns",
  "data_skipping_indices",
  "databases",
  "detached_parts",
  "disks",
  "errors",
  "events",
  "merges",
  "metrics",
  "mutations",
  "parts",
  "parts_columns",
  "processes",
  "settings",
  "tables",
] as const;

/** Engines that keep their rows in the data directory; `File`, `URL`, `MySQL` and the like are not among them. */
const TABLE_ENGINES = [
  "MergeTree",
  "ReplacingMergeTree",
  "AggregatingMergeTree",
  "SummingMergeTree",
  "MaterializedView",
  "Memory",
  "Null",
] as const;

const escapeXml = (text: string): string => text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);

const elements = (settings: Readonly<Record<string, string | number>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`)
    .join("\n  ");

/**
 * One machine, few tables: small pools and bounded caches. Measured idle: the caches and pools decide how far memory grows
 * under load, not where it begins (that is the program text; see child.ts).
 */
const SERVER_SETTINGS = {
  listen_host: "127.0.0.1",
  http_port: 0,
  mark_cache_size: 16 * MIB,
  index_mark_cache_size: 8 * MIB,
  primary_index_cache_size: 16 * MIB,
  query_condition_cache_size: 4 * MIB,
  uncompressed_cache_size: 0,
  index_uncompressed_cache_size: 0,
  mmap_cache_size: 16,
  compiled_expression_cache_size: MIB,
  compiled_expression_cache_elements_size: 16,
  text_index_tokens_cache_size: 4 * MIB,
  text_index_header_cache_size: 4 * MIB,
  text_index_postings_cache_size: 8 * MIB,
  vector_similarity_index_cache_size: MIB,
  max_thread_pool_size: 200,
  max_thread_pool_free_size: 4,
  thread_pool_queue_size: 400,
  max_io_thread_pool_size: 8,
  max_io_thread_pool_free_size: 0,
  background_pool_size: 2,
  background_merges_mutations_concurrency_ratio: 2,
  background_move_pool_size: 1,
  background_fetches_pool_size: 1,
  background_common_pool_size: 1,
  background_buffer_flush_schedule_pool_size: 1,
  background_schedule_pool_size: 2,
  background_message_broker_schedule_pool_size: 1,
  background_distributed_schedule_pool_size: 1,
  tables_loader_foreground_pool_size: 2,
  tables_loader_background_pool_size: 1,
  max_connections: 256,
  keep_alive_timeout: 30,
  // A partition dropped by TTL is gone by design; this guard would refuse to drop a table above 50 GB.
  max_table_size_to_drop: 0,
  max_partition_size_to_drop: 0,
};

const MERGE_TREE_SETTINGS = {
  number_of_free_entries_in_pool_to_execute_mutation: 1,
  number_of_free_entries_in_pool_to_lower_max_size_of_merge: 1,
  number_of_free_entries_in_pool_to_execute_optimize_entire_partition: 1,
  // Idle tables are looked at rarely; a busy one wakes its own merges.
  merge_selecting_sleep_ms: 5000,
  max_merge_selecting_sleep_ms: 60_000,
  cleanup_delay_period: 60,
  max_cleanup_delay_period: 300,
  merge_max_block_size_bytes: 4 * MIB,
};

/**
 * Parts move from the first volume to the second by TTL only (`move_factor` 0): when the first fills up, days are dropped, and the second is not
 * flooded with what is asked for most. The names are the defaults of `analytics.cold`; the first volume keeps the name that it has in the policy
 * which tables begin with, or they could not change to this one.
 */
const storage = (coldPath: string | null): string =>
  coldPath === null
    ? ""
    : `
  <storage_configuration>
    <disks>
      <cold><path>${escapeXml(coldPath)}</path></cold>
    </disks>
    <policies>
      <hot_cold>
        <volumes>
          <default><disk>default</disk></default>
          <cold><disk>cold</disk></cold>
        </volumes>
        <move_factor>0</move_factor>
      </hot_cold>
    </policies>
  </storage_configuration>`;

export const renderEngineConfiguration = (configuration: EngineConfiguration): string => `<clickhouse>
  ${elements({
    users_config: configuration.usersPath,
    user_files_path: configuration.userFilesPath,
    tmp_path: configuration.temporaryPath,
    max_server_memory_usage: configuration.memoryBytesMax,
    ...SERVER_SETTINGS,
  })}
  <logger>
    <level>error</level>
    <console>1</console>
    <levels>
      <logger><name>executeQuery</name><level>none</level></logger>
      <logger><name>DynamicQueryHandler</name><level>none</level></logger>
    </levels>
  </logger>
  <merge_tree>
  ${elements(MERGE_TREE_SETTINGS)}
  </merge_tree>
  <http_handlers>
    <rule>
      <url>/ping</url>
      <handler><type>ping</type></handler>
    </rule>
    <rule>
      <headers><Authorization>${escapeXml(configuration.authorization)}</Authorization></headers>
      <handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler>
    </rule>
  </http_handlers>
  <access_control_improvements>
  ${elements({
    select_from_system_db_requires_grant: "true",
    select_from_information_schema_requires_grant: "true",
    table_engines_require_grant: "true",
    on_cluster_queries_require_cluster_grant: "true",
    settings_constraints_replace_previous: "true",
  })}
  </access_control_improvements>${storage(configuration.coldPath)}
</clickhouse>
`;

const grants = (statements: readonly string[]): string =>
  `<grants>${statements.map((statement) => `<query>${statement}</query>`).join("")}</grants>`;

/**
 * `default` is the engine's own session at start: it must exist, without a password, and come from the loopback address.
 * Over HTTP nobody is `default`: only requests with the app user's Authorization header reach a handler at all (see above).
 */
export const renderEngineUsers = (users: EngineUsers): string => `<clickhouse>
  <profiles>
    <default>
      ${elements({
        max_threads: 2,
        max_insert_threads: 1,
        max_memory_usage: Math.floor(users.memoryBytesMax * 0.7),
        max_bytes_before_external_group_by: Math.floor(users.memoryBytesMax * 0.3),
        max_bytes_before_external_sort: Math.floor(users.memoryBytesMax * 0.3),
        // Just-in-time compilation keeps LLVM in memory for queries that take milliseconds here.
        compile_expressions: 0,
        compile_aggregate_expressions: 0,
        compile_sort_description: 0,
        input_format_parallel_parsing: 0,
        output_format_parallel_formatting: 0,
        async_insert: 0,
        implicit_select: 0,
        use_uncompressed_cache: 0,
        log_queries: 0,
        memory_profiler_step: 0,
        query_profiler_real_time_period_ns: 0,
        query_profiler_cpu_time_period_ns: 0,
      })}
    </default>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <no_password/>
      <networks><ip>127.0.0.1</ip></networks>
      ${grants(["GRANT SYSTEM LISTEN ON *.*"])}
    </default>
    <${APP_USER}>
      <password_sha256_hex>${escapeXml(users.passwordSha256)}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks>
      ${grants([
        `GRANT ALL ON ${DATABASE_PREFIX}*.*`,
        "GRANT CREATE TEMPORARY TABLE ON *.*",
        ...SYSTEM_TABLES.map((table) => `GRANT SELECT ON system.${table}`),
        ...TABLE_ENGINES.map((engine) => `GRANT TABLE ENGINE ON ${engine}`),
      ])}
    </${APP_USER}>
  </users>
</clickhouse>
`;
