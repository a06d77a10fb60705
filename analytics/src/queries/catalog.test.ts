import { describe, expect, it } from "vitest";
import { QUERIES } from "./catalog.ts";

const placeholders = (sql: string): string[] =>
  [...new Set([...sql.matchAll(/\{(\w+):[^}]+\}/g)].map(([, name = ""]) => name))].sort();

/** Values that every query takes. */
const SAMPLE: Readonly<Record<string, unknown>> = {
  metric_name: "m",
  from_unix_ms: 0,
  to_unix_ms: 60_000,
  aggregate: "avg",
  incident_id: "i",
  run_id: "r",
  name: "n",
  key: "k",
  topic: "t",
  partition: 0,
  host_name: "h",
  host_names: ["h"],
  finding_ids: [],
  command_ids: [],
  trace_id: "0af7651916cd43dd8448eb211c80319c",
  resource_ids: [],
  resource: {},
  labels: {},
};

describe("named queries", () => {
  it("have names of their own", () => {
    const names = QUERIES.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it.each(QUERIES.map((query) => [query.name, query] as const))(
    "%s binds exactly what its parameters give",
    (_, query) => {
      const shape = query.params.safeParse(SAMPLE);
      const known = shape.success
        ? SAMPLE
        : Object.fromEntries(Object.entries(SAMPLE).filter(([key]) => !unknownKeys(shape.error).includes(key)));
      const bound = Object.keys(query.params.parse(known) as object);
      expect(bound.sort()).toEqual(placeholders(query.sql));
    },
  );

  it("answer to the names that evidence cites", () => {
    expect(QUERIES.map(({ name }) => name)).toEqual(expect.arrayContaining(["metric_range", "log_search"]));
  });
});

const unknownKeys = (error: { readonly issues: readonly { readonly code: string }[] }): string[] =>
  error.issues.flatMap((issue) =>
    issue.code === "unrecognized_keys" && "keys" in issue ? (issue.keys as string[]) : [],
  );
