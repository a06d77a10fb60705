import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ApiOptions,
  createApi,
  createStore,
  type Store,
  StoreConfig,
  StoreError,
} from "../../analytics/src/index.ts";
import { type EmbeddedStore, startEmbeddedStore } from "../../app/src/embedded/store/index.ts";
import { Incident } from "../../schemas/src/index.ts";
import { AROUND, incidentRecord, insertIncident, insertSeries, logBatch, NOON, quietLog } from "./store-rows.ts";

const TOKEN = "a-token-of-this-test";
const RANGE = `from_unix_ms=${AROUND.from_unix_ms}&to_unix_ms=${AROUND.to_unix_ms}`;

const RELOADED = { added: ["a"], changed: [], removed: [], unchanged: ["b"], needs_restart: ["bus"] };

describe("the HTTP API on a real engine", () => {
  let dir: string;
  let engine: EmbeddedStore;
  let store: Store;
  const decided: unknown[] = [];

  const api = (changes: Partial<ApiOptions> = {}) =>
    createApi({
      run: (query, params, options) => store.run(query, params, options),
      health: async () => [{ name: "store", state: "ok", detail: "well", figures: { rows: 1 } }],
      reports: async (id, format) => (id === "i-1" ? `${format} of ${id}` : null),
      decide: async (runId, decision) => {
        decided.push([runId, decision]);
        return {
          refused: runId === "r-0" ? "not_found" : "not_awaiting_approval",
          message: `run ${runId} does not wait`,
        };
      },
      acknowledge: async (id, by) => ({
        ...incidentRecord(id, 1, "open").incident,
        acknowledged: { by, at_unix_ms: NOON },
      }),
      reload: async () => RELOADED,
      now: () => NOON + 120_000,
      log: quietLog,
      version: "1.2.3",
      token: TOKEN,
      isLoopback: true,
      ...changes,
    });
  const local = { host: "localhost:7070" };
  const get = async (url: string, changes: Partial<ApiOptions> = {}, headers: Record<string, string> = {}) =>
    api(changes).inject({ method: "GET", url, headers: { ...local, ...headers } });
  const post = async (
    url: string,
    payload: unknown,
    headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` },
  ) => api().inject({ method: "POST", url, headers: { ...local, ...headers }, payload: payload as object });

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "homeostat-api-"));
    engine = await startEmbeddedStore({ dir, log: quietLog });
    const { url, username, password } = engine;
    store = createStore({ url, username, password, config: StoreConfig.parse({}), now: Date.now, log: quietLog });
    await store.migrate();
    const line = (body: string, second: number) => ({ body, atMs: NOON + second * 1000, severity: 17 });
    await store.insertNative({
      table: "logs",
      frames: [logBatch([line("Connection refused <script>", 1), line("all is well", 2)])],
      dedupToken: "logs",
      rowCount: 2,
    });
    const host = { "host.name": "host-1" };
    await insertSeries(store, [
      {
        name: "cpu",
        labels: { ...host, state: "user" },
        points: [
          [0, 1],
          [60, 3],
        ],
      },
      { name: "cpu", labels: { ...host, state: "idle" }, points: [[0, 9]] },
    ]);
    await insertIncident(store, incidentRecord("i-1", 1, "open"));
    await insertIncident(store, incidentRecord("i-2", 2, "resolved"));
  });
  afterAll(async () => {
    await store.close();
    await engine.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it("queries a metric by label and group", async () => {
    const answer = await get(`/api/v1/metrics/query?metric_name=cpu&label=state=user&${RANGE}`);
    expect(answer.json()).toEqual({
      series: [
        {
          labels: { "host.name": "host-1", state: "user" },
          unit: "By",
          points: [
            [NOON, 1],
            [NOON + 60_000, 3],
          ],
        },
      ],
      resolution: "raw",
    });
    const grouped = await get(
      `/api/v1/metrics/query?metric_name=cpu&group_by=host.name&aggregate=sum&step_ms=3600000&${RANGE}`,
    );
    expect(grouped.json().series).toEqual([{ labels: { "host.name": "host-1" }, unit: "By", points: [[NOON, 11]] }]);
    expect((await get(`/api/v1/metrics?${RANGE}`)).json().metrics).toMatchObject([{ metric_name: "cpu", series: 2 }]);
    expect((await get(`/api/v1/metrics/series?metric_name=cpu&${RANGE}`)).json().series).toHaveLength(2);
  });

  it("searches logs of the last hour by default", async () => {
    const answer = (await get("/api/v1/logs?text=REFUSED")).json();
    expect(answer.logs).toMatchObject([
      {
        body: "Connection refused <script>",
        time_unix_nano: String(BigInt(NOON + 1000) * 1_000_000n),
        severity_number: 17,
      },
    ]);
    expect((await get(`/api/v1/logs/histogram?${RANGE}`)).json().histogram).toEqual([
      { at_unix_ms: NOON, severity_number: 17, count: 2 },
    ]);
  });

  it("lists incidents, tells one with its runs, and says when there is none", async () => {
    const { incidents } = (await get("/api/v1/incidents?limit=100")).json();
    expect(incidents.map((incident: Incident) => Incident.parse(incident).incident_id)).toEqual(["i-1", "i-2"]);
    expect((await get("/api/v1/incidents?state=open,diagnosing")).json().incidents).toHaveLength(1);
    expect((await get("/api/v1/incidents/i-1")).json()).toEqual({
      incident: incidentRecord("i-1", 1, "open").incident,
      runs: [],
      results: [],
    });
    for (const path of [
      "/api/v1/incidents/i-9",
      "/api/v1/incidents/i-9/report",
      "/api/v1/runs/r-9",
      "/api/v1/nothing",
    ]) {
      const missing = await get(path);
      expect([missing.statusCode, missing.json().error.code], path).toEqual([404, "not_found"]);
    }
  });

  it.each([
    ["?format=html", "", "html of i-1", "text/html"],
    ["", "application/json", "json of i-1", "application/json"],
    ["", "text/html,application/xhtml+xml,*/*;q=0.8", "html of i-1", "text/html"],
    ["", "*/*", "markdown of i-1", "text/markdown"],
  ])("gives a report as %j or Accept %j asks", async (query, accept, body, type) => {
    const answer = await get(`/api/v1/incidents/i-1/report${query}`, {}, { accept });
    expect(answer.body).toBe(body);
    expect(answer.headers["content-type"]).toContain(type);
    expect(answer.headers["content-security-policy"]).toContain("default-src 'none'");
  });

  it("answers 503 while a part is failing, unless it is asked not to", async () => {
    expect((await get("/api/v1/health")).json()).toEqual({
      status: "ok",
      version: "1.2.3",
      components: [{ name: "store", state: "ok", detail: "well", figures: { rows: 1 } }],
    });
    const failing: Partial<ApiOptions> = {
      health: async () => [{ name: "bus", state: "failing", detail: "gone", figures: {} }],
    };
    expect((await get("/api/v1/health", failing)).statusCode).toBe(503);
    expect((await get("/api/v1/health?always=200", failing)).statusCode).toBe(200);
  });

  it("takes decisions only with the token and as JSON", async () => {
    const body = { approved: true, by: "ann" };
    const path = "/api/v1/runs/r-1/decision";
    expect((await post(path, body, {})).statusCode).toBe(401);
    expect((await post(path, body, { authorization: "Bearer no" })).statusCode).toBe(401);
    expect((await post(path, body, { authorization: TOKEN })).statusCode).toBe(401);
    const text = { authorization: `Bearer ${TOKEN}`, "content-type": "text/plain" };
    expect((await post(path, JSON.stringify(body), text)).statusCode).toBe(415);
    const form = { ...text, "content-type": "application/x-www-form-urlencoded" };
    expect((await post(path, "approved=true", form)).statusCode).toBe(415);
    expect(decided).toEqual([]);
    const refused = await post(path, body);
    expect([refused.statusCode, refused.json()]).toEqual([
      409,
      { error: { code: "refused", message: "run r-1 does not wait", refusal: "not_awaiting_approval" } },
    ]);
    expect(decided).toEqual([["r-1", { approved: true, by: "ann", note: "" }]]);
    expect((await post("/api/v1/runs/r-0/decision", body)).statusCode).toBe(404);
  });

  it("reads the configuration again with the token only, and says what is wrong with a refused one", async () => {
    expect((await post("/api/v1/reload", {}, {})).statusCode).toBe(401);
    expect((await post("/api/v1/reload", {})).json()).toEqual(RELOADED);
    const problems = ["detectors.rules[0].value: Invalid input"];
    const refusing = api({ reload: async () => ({ message: "refused", problems }) });
    const headers = { ...local, authorization: `Bearer ${TOKEN}` };
    const refused = await refusing.inject({ method: "POST", url: "/api/v1/reload", headers, payload: {} });
    expect([refused.statusCode, refused.json().error]).toEqual([
      409,
      { code: "refused", message: "refused", problems },
    ]);
  });

  it("acknowledges an incident in the name of a person", async () => {
    const answer = await post("/api/v1/incidents/i-1/acknowledge", { by: "ann" });
    expect(answer.json().incident.acknowledged).toEqual({ by: "ann", at_unix_ms: NOON });
    const unknown = await post("/api/v1/incidents/i-1/acknowledge", { by: "ann", force: true });
    expect([unknown.statusCode, unknown.json().error.code]).toEqual([400, "bad_request"]);
  });

  it.each([
    ["/api/v1/logs?limit=20000", 400],
    ["/api/v1/logs?nonsense=1", 400],
    ["/api/v1/metrics/query", 400],
    ["/api/v1/metrics/query?metric_name=cpu&step_ms=1", 400],
    ["/api/v1/metrics/query?metric_name=cpu&from_unix_ms=5&to_unix_ms=4", 400],
    ["/api/v1/metrics/query?metric_name=cpu&fingerprint=xyz", 400],
  ])("refuses %s and says what is wrong", async (url, status) => {
    const answer = await get(url);
    expect(answer.statusCode).toBe(status);
    expect(answer.json().error.problems.length).toBeGreaterThan(0);
  });

  it("refuses a body that is too large before it is read", async () => {
    const answer = await post("/api/v1/runs/r-1/decision", { approved: true, by: "x".repeat(100_000) });
    expect([answer.statusCode, answer.json().error.code]).toEqual([413, "too_large"]);
  });

  it.each(["evil.example", "evil.example:7070", "localhost.evil.example", "127.0.0.1.evil.example"])(
    "does not answer to the host name %j on a loopback listener",
    async (host) => {
      const answer = await api().inject({ method: "GET", url: "/api/v1/health", headers: { host } });
      expect([answer.statusCode, answer.json().error.code]).toEqual([421, "misdirected_request"]);
      expect((await api({ isLoopback: false }).inject({ url: "/api/v1/health", headers: { host } })).statusCode).toBe(
        200,
      );
    },
  );

  it("wants the token for reading too where others can connect", async () => {
    const open: Partial<ApiOptions> = { isLoopback: false };
    expect((await get("/api/v1/health", open)).json()).toEqual({ status: "ok", version: "1.2.3", components: [] });
    for (const path of ["/", "/api/v1/incidents", "/api/v1/openapi.json", "/api/v1/logs"]) {
      expect((await get(path, open)).statusCode, path).toBe(401);
      expect((await get(path, open, { authorization: `Bearer ${TOKEN}` })).statusCode, path).toBe(200);
    }
  });

  it("says that the store is away, and does not show its words when it is our query that is wrong", async () => {
    const away: Partial<ApiOptions> = {
      run: () => Promise.reject(new StoreError("unreachable", "connect ECONNREFUSED", { retryable: true })),
    };
    const gone = await get("/api/v1/incidents", away);
    expect([gone.statusCode, gone.json().error.code]).toEqual([503, "store_unavailable"]);
    const broken: Partial<ApiOptions> = { run: () => Promise.reject(new Error("secret inside")) };
    const inside = await get("/api/v1/incidents", broken);
    expect([inside.statusCode, inside.json().error.code]).toEqual([500, "internal"]);
    expect(inside.body).not.toContain("secret");
    expect((await get("/", away)).body).toContain("The store does not answer");
  });

  it("describes every route in OpenAPI", async () => {
    const document = (await get("/api/v1/openapi.json")).json();
    expect(document.openapi).toMatch(/^3\./);
    expect(Object.keys(document.paths).sort()).toEqual([
      "/api/v1/agents",
      "/api/v1/health",
      "/api/v1/incidents",
      "/api/v1/incidents/{incident_id}",
      "/api/v1/incidents/{incident_id}/acknowledge",
      "/api/v1/incidents/{incident_id}/report",
      "/api/v1/ledger",
      "/api/v1/logs",
      "/api/v1/logs/histogram",
      "/api/v1/metrics",
      "/api/v1/metrics/quantiles",
      "/api/v1/metrics/query",
      "/api/v1/metrics/series",
      "/api/v1/reload",
      "/api/v1/retention",
      "/api/v1/runs/{run_id}",
      "/api/v1/runs/{run_id}/decision",
      "/api/v1/traces/{trace_id}/logs",
    ]);
    expect(document.paths["/api/v1/runs/{run_id}/decision"].post.requestBody).toBeDefined();
  });

  it("has a start page that runs nothing of what it shows", async () => {
    const evil = incidentRecord("i-3", 3, "open");
    await insertIncident(store, { ...evil, incident: { ...evil.incident, title: "<script>alert(1)</script>" } });
    const page = await get("/");
    expect(page.headers["content-type"]).toContain("text/html");
    expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
    expect(page.body).toContain("incident i-1");
    expect(page.body).toContain("&#60;script&#62;alert(1)");
    expect(page.body).not.toContain("<script");
  });
});
