import type { Answer, IntakeRequest, ReceiverRoute } from "../../gateway/receiver-route.ts";
import { failure, json } from "./answers.ts";

/** What we pass for. Beats want at least their own minor version unless `allow_older_versions` is set, and 8 is the last that all of them take. */
const VERSION = "8.19.0";

const NAME = "homeostat";

const ABOUT = {
  name: NAME,
  cluster_name: NAME,
  cluster_uuid: "homeostat-0000000000000",
  version: {
    number: VERSION,
    build_flavor: "default",
    build_type: "tar",
    build_hash: "0".repeat(40),
    build_date: "2025-01-01T00:00:00.000000000Z",
    build_snapshot: false,
    lucene_version: "9.12.2",
    minimum_wire_compatibility_version: "7.17.0",
    minimum_index_compatibility_version: "7.0.0",
  },
  tagline: "You Know, for Search",
} as const;

const LICENSE = {
  uid: "00000000-0000-0000-0000-000000000000",
  type: "basic",
  mode: "basic",
  status: "active",
} as const;

const XPACK = {
  build: { hash: ABOUT.version.build_hash, date: ABOUT.version.build_date },
  license: LICENSE,
  // Beats 7 then leave out policies and write aliases.
  features: { ilm: { available: false, enabled: false }, security: { available: true, enabled: true } },
  tagline: ABOUT.tagline,
} as const;

const HEALTH = {
  cluster_name: NAME,
  status: "green",
  timed_out: false,
  number_of_nodes: 1,
  number_of_data_nodes: 1,
  active_primary_shards: 1,
  active_shards: 1,
  relocating_shards: 0,
  initializing_shards: 0,
  unassigned_shards: 0,
} as const;

/** Clients that look for other nodes (Fluentd's reload_connections) find the address that they used. */
const nodes = ({ headers }: IntakeRequest): Answer => {
  const { host } = headers;
  const address = typeof host === "string" ? host : "";
  const node = { name: NAME, version: VERSION, roles: ["data", "ingest"], http: { publish_address: address } };
  return json({ _nodes: { total: 1, successful: 1, failed: 0 }, cluster_name: NAME, nodes: { [NAME]: node } });
};

const ACKNOWLEDGED = { acknowledged: true, shards_acknowledged: true } as const;

/** Shippers ask whether it is there, and put it when it is not. It is always there: nothing here has templates, policies or pipelines. */
const SETTINGS: readonly { readonly path: string; readonly found: (name: string) => unknown }[] = [
  {
    path: "/_index_template/:name",
    found: (name) => ({ index_templates: [{ name, index_template: { index_patterns: [name] } }] }),
  },
  { path: "/_template/:name", found: (name) => ({ [name]: { order: 0, index_patterns: [name] } }) },
  {
    path: "/_component_template/:name",
    found: (name) => ({ component_templates: [{ name, component_template: { template: {} } }] }),
  },
  { path: "/_ilm/policy/:name", found: (name) => ({ [name]: { version: 1, policy: { phases: {} } } }) },
  {
    path: "/_data_stream/:name",
    found: (name) => ({ data_streams: [{ name, timestamp_field: { name: "@timestamp" }, status: "GREEN" }] }),
  },
  { path: "/_data_stream/:name/_lifecycle", found: (name) => ({ data_streams: [{ name, lifecycle: {} }] }) },
  { path: "/_ingest/pipeline/:name", found: (name) => ({ [name]: { description: "", processors: [] } }) },
  { path: "/_alias/:name", found: (name) => ({ [name]: { aliases: { [name]: {} } } }) },
];

const probe = (
  method: ReceiverRoute["method"],
  path: string,
  handle: (request: IntakeRequest) => Answer,
): ReceiverRoute => ({ method, path, receiver: "elasticsearch", handle, refusal: failure });

/** Is it there? The headers say so alone. */
const isThere = (path: string): ReceiverRoute => probe("HEAD", path, () => ({ ...json({}), body: "" }));

const settingRoutes = ({ path, found }: (typeof SETTINGS)[number]): ReceiverRoute[] => [
  isThere(path),
  probe("GET", path, ({ params }) => json(found(params.name ?? ""))),
  probe("PUT", path, () => json(ACKNOWLEDGED)),
];

/** What Filebeat, Fluent Bit, Fluentd, Logstash and Vector ask for before their first bulk request. */
export const startUpProbes: readonly ReceiverRoute[] = [
  probe("GET", "/", () => json(ABOUT)),
  isThere("/"),
  probe("GET", "/_license", () => json({ license: LICENSE })),
  probe("GET", "/_xpack", () => json(XPACK)),
  probe("GET", "/_cluster/health", () => json(HEALTH)),
  probe("GET", "/_nodes/http", nodes),
  ...SETTINGS.flatMap(settingRoutes),
  isThere("/:index"),
  probe("PUT", "/:index", ({ params }) => json({ ...ACKNOWLEDGED, index: params.index ?? "" })),
];
