import {
  type CommandResult,
  type Finding,
  type GatewayReport,
  type Heartbeat,
  type Incident,
  type Notification,
  type RemediationRun,
  TOPICS,
} from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { PROJECTIONS } from "./projections.ts";

const AT = 1_760_000_000_000;
const finding: Finding = {
  finding_id: "f",
  detector: "threshold",
  rule: "cpu",
  state: "firing",
  severity: "warning",
  category: "symptom",
  entity: { host: "web-1" },
  started_at_unix_ms: AT,
  detected_at_unix_ms: AT + 1,
  value: null,
  unit: "",
  expected: null,
  summary: "s",
  labels: {},
  evidence: [],
};

const incident: Incident = {
  incident_id: "i",
  state: "open",
  state_since_unix_ms: AT,
  severity: "warning",
  title: "t",
  entity: { host: "web-1", service: "shop" },
  findings: [finding],
  run_ids: [],
  times: {
    started_at_unix_ms: AT,
    detected_at_unix_ms: AT + 1,
    opened_at_unix_ms: AT + 2,
    diagnosed_at_unix_ms: null,
    mitigation_started_at_unix_ms: null,
    recovered_at_unix_ms: null,
    closed_at_unix_ms: null,
  },
  acknowledged: null,
  timeline: [],
  version: 1,
};

const run: RemediationRun = {
  run_id: "r",
  incident_id: "i",
  entity: { host: "web-1" },
  finding_ids: ["f"],
  runbook: "restart",
  autonomy: "auto",
  state: "proposed",
  plan: null,
  guards: [],
  outcomes: [],
  rollback: null,
  before: null,
  after: null,
  verdict: null,
  decision: null,
  reason: "",
  times: {
    proposed_at_unix_ms: AT,
    started_at_unix_ms: null,
    applied_at_unix_ms: null,
    step_started_at_unix_ms: null,
    healthy_since_unix_ms: null,
    deadline_unix_ms: null,
    ended_at_unix_ms: null,
  },
  version: 1,
};

const result: CommandResult = {
  command_id: "c",
  host: "web-1",
  executor: "exec.run",
  state: "succeeded",
  exit_code: 0,
  stdout: "",
  stderr: "",
  output_truncated: false,
  started_at_unix_ms: AT,
  ended_at_unix_ms: AT + 5,
  message: "",
};

const heartbeat: Heartbeat = {
  host: "web-1",
  agent_version: "1",
  state: "online",
  problems: [],
  topics: {},
  checkpoints: [],
  at_unix_ms: AT,
  started_at_unix_ms: AT,
  ledger: { produced: 0, delivered: 0, spooled: 0, dropped: {} },
  spool_bytes: 0,
  site: "",
  labels: {},
  plugins: [],
  clock_skew_ms: null,
};

const gatewayReport: GatewayReport = {
  gateway: "gateway:edge-1/0a0b",
  at_unix_ms: AT,
  started_at_unix_ms: AT,
  receivers: [],
  topics: {},
  checkpoints: [],
};

const notification: Notification = {
  delivery_id: "d",
  receiver: "chat",
  incident_id: "i",
  event: "opened",
  state: "pending",
  payload: {},
  attempts: 0,
  next_attempt_at_unix_ms: AT,
  created_at_unix_ms: AT,
  last_error: "",
};

const rows: Readonly<Record<string, readonly [unknown, Readonly<Record<string, string | number>>]>> = {
  findings: [
    finding,
    {
      ...{ finding_id: "f", rule: "cpu", detector: "threshold", state: "firing", severity: "warning" },
      ...{ category: "symptom", host_name: "web-1", service_name: "", started_at: AT, detected_at: AT + 1 },
    },
  ],
  incidents: [
    { event: "opened", at_unix_ms: AT, incident },
    {
      ...{ incident_id: "i", state: "open", severity: "warning", title: "t", host_name: "web-1", service_name: "shop" },
      ...{ started_at: AT, detected_at: AT + 1, opened_at: AT + 2 },
    },
  ],
  remediation_runs: [
    { event: "proposed", at_unix_ms: AT, run },
    { run_id: "r", incident_id: "i", runbook: "restart", state: "proposed", host_name: "web-1", proposed_at: AT },
  ],
  agent_results: [
    result,
    { command_id: "c", host_name: "web-1", executor: "exec.run", state: "succeeded", at: AT + 5 },
  ],
  heartbeats: [heartbeat, { host_name: "web-1", state: "online", at: AT }],
  gateways: [gatewayReport, { gateway: "gateway:edge-1/0a0b", host_name: "edge-1", at: AT }],
  notifications: [
    notification,
    { delivery_id: "d", incident_id: "i", receiver: "chat", state: "pending", created_at: AT },
  ],
};

describe("projections", () => {
  it.each(PROJECTIONS)("of $topic into $table", ({ table, columns }) => {
    const [record, row] = rows[table] ?? [];
    expect(columns(record, AT + 9)).toEqual(row);
  });

  it.each(PROJECTIONS)("of $topic refuse what is not its record", ({ columns }) => {
    expect(() => columns({ colour: "red" }, AT)).toThrow();
    expect(() => columns(null, AT)).toThrow();
  });

  it("of a result that never ran takes the bus's time", () => {
    const refused = { ...result, state: "refused", started_at_unix_ms: null, ended_at_unix_ms: null };
    const results = PROJECTIONS.find(({ table }) => table === "agent_results");
    expect(results?.columns(refused, AT + 9)).toMatchObject({ state: "refused", at: AT + 9 });
  });

  it("keep the first end of an invocation, unless it was lost", () => {
    const results = PROJECTIONS.find(({ table }) => table === "agent_results");
    const version = (state: string, offset: number) => results?.version({ state }, offset) ?? Number.NaN;
    expect(version("succeeded", 7)).toBeGreaterThan(version("failed", 8));
    expect(version("succeeded", 7)).toBeGreaterThan(version("lost", 9));
    expect(version("succeeded", 9_000_000_000)).toBeGreaterThan(version("lost", 3));
    expect(Number.isSafeInteger(version("succeeded", 0))).toBe(true);
  });

  it("read topics that exist, each once", () => {
    const read = PROJECTIONS.map(({ topic }) => topic);
    expect(new Set(read).size).toBe(read.length);
    for (const topic of read) expect(TOPICS[topic].value).not.toMatch(/batch|refused/);
  });
});
