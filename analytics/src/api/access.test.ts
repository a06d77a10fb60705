import { Job } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { type ApiOptions, createApi } from "./create-api.ts";
import type { AgentPlatform } from "./fleet-ports.ts";
import type { Role } from "./principal.ts";

const nothing = () => undefined;
const TOKEN = "the-token-of-the-data-directory";
const tokenOf = (role: string): string => `the-token-of-a-${role}-${role}`;
const ROLES: readonly Role[] = ["viewer", "operator", "approver", "admin", "shell"];
const users = ROLES.map((role) => ({ name: `a-${role}`, roles: [role], token: tokenOf(role) }));

const job = Job.parse({
  job_id: "j-1",
  request: { executor: "exec.run", targets: { hosts: ["h"] } },
  requested_by: "x",
  risk: "read_only",
  state: "succeeded",
  hosts: ["h"],
  sites: {},
  approvals: [],
  created_at_unix_ms: 1,
  not_after_unix_ms: 2,
  ended_at_unix_ms: 3,
  counts: {},
  message: "",
});

/** Says who asked for what. */
const platform = (asked: string[]): AgentPlatform => {
  const by = (what: string, name: string) => {
    asked.push(`${what} by ${name}`);
    return { refused: "wrong_state", message: "as asked" };
  };
  return {
    fleet: {
      agents: () => [],
      agent: () => null,
      submit: async (_request, { name }) => by("submit", name),
      preview: (_request, { name }) => by("preview", name),
      jobs: () => [],
      leads: () => true,
      job: () => ({ job, invocations: [] }),
      follow: (_id, listener) => {
        listener({ type: "job", job });
        listener({ type: "end", job });
        return nothing;
      },
      cancel: async (_id, { name }) => by("cancel", name),
      approve: async (_id, { name }) => by("approve", name),
      reject: async (_id, { name }) => by("reject", name),
    },
    plugins: {
      releases: () => [],
      wishes: () => [],
      publish: async (_release, _artefact, { name }) => by("publish", name),
      wish: async (_request, { name }) => by("wish", name),
      unwish: async (_name, _targets, { name }) => by("unwish", name),
    },
    enrolment: {
      identities: () => [],
      tokens: () => [],
      createToken: async (_request, { name }) => by("token", name),
      withdrawToken: async (_id, { name }) => by("withdraw", name),
      change: async (_whose, to, { name }) => by(to, name),
    },
    audit: { read: async () => [], verify: async () => ({ ok: true, records: 0, head_sha256: "" }) },
    shell: {
      open: async (_request, { name }) => by("shell", name),
      input: (_id, _input, { name }) => by("input", name),
      resize: (_id, _size, { name }) => by("resize", name),
      close: async (_id, { name }) => by("close", name),
      transcripts: async () => [],
      transcript: async () => null,
    },
  };
};

const apiOf = (changes: Partial<ApiOptions>, asked: string[] = []) =>
  createApi({
    run: async () => [],
    health: async () => [],
    reports: async () => null,
    decide: async (_id, { by }) => {
      asked.push(`decide by ${by}`);
      return { refused: "wrong_state", message: "as asked" };
    },
    acknowledge: async (_id, by) => {
      asked.push(`acknowledge by ${by}`);
      return { refused: "wrong_state", message: "as asked" };
    },
    reload: async () => ({ message: "as asked", problems: [] }),
    now: () => 1,
    log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
    version: "1.0.0",
    token: TOKEN,
    isLoopback: true,
    agentPlatform: platform(asked),
    ...changes,
  });

const REQUEST = { executor: "exec.run", targets: { hosts: ["h"] } };
const release = Buffer.concat([Buffer.from([0, 0, 0, 2]), Buffer.from("{}artefact")]);
const EVERYBODY = ROLES;

/** Who may do what, in one place: `GET` is 200, and what is asked for is answered by the part that is asked. */
const MATRIX: readonly { readonly ask: string; readonly body?: object; readonly may: readonly Role[] }[] = [
  { ask: "GET /agents", may: EVERYBODY },
  { ask: "GET /jobs", may: EVERYBODY },
  { ask: "GET /jobs/j-1", may: EVERYBODY },
  { ask: "GET /jobs/j-1/events", may: EVERYBODY },
  { ask: "GET /plugins", may: EVERYBODY },
  { ask: "POST /jobs", body: REQUEST, may: ["operator"] },
  { ask: "POST /jobs", body: { ...REQUEST, dry_run: true }, may: ["operator"] },
  { ask: "POST /jobs/j-1/cancel", body: {}, may: ["operator", "approver", "admin"] },
  { ask: "POST /jobs/j-1/approve", body: {}, may: ["approver"] },
  { ask: "POST /jobs/j-1/reject", body: {}, may: ["approver"] },
  { ask: "POST /runs/r-1/decision", body: { approved: true, by: "x" }, may: ["approver"] },
  { ask: "POST /incidents/i-1/acknowledge", body: { by: "x" }, may: ["operator", "approver", "admin"] },
  { ask: "POST /reload", body: {}, may: ["admin"] },
  { ask: "POST /plugins/releases", body: release, may: ["admin"] },
  { ask: "POST /plugins/wishes", body: { name: "p", targets: { labels: "*" } }, may: ["admin"] },
  { ask: "POST /plugins/unwish", body: { name: "p", targets: { labels: "*" } }, may: ["admin"] },
  { ask: "GET /identities", may: ["admin"] },
  { ask: "GET /enrolment-tokens", may: ["admin"] },
  { ask: "POST /enrolment-tokens", body: { site: "s" }, may: ["admin"] },
  { ask: "POST /enrolment-tokens/0123456789abcdef/withdraw", body: {}, may: ["admin"] },
  { ask: "POST /identities/h/revoke", body: {}, may: ["admin"] },
  { ask: "POST /identities/h/quarantine", body: {}, may: ["admin"] },
  { ask: "POST /identities/h/readmit", body: {}, may: ["admin"] },
  { ask: "POST /identities/s/revoke", body: { kind: "site", site: "paris" }, may: ["admin"] },
  { ask: "POST /identities/s/readmit", body: { kind: "site", site: "paris" }, may: ["admin"] },
  { ask: "GET /audit", may: ["approver", "admin"] },
  { ask: "GET /audit/verify", may: ["approver", "admin"] },
  { ask: "GET /transcripts", may: ["approver", "admin"] },
  { ask: "POST /shell", body: { host: "h" }, may: ["shell"] },
  { ask: "POST /shell/j-1/input", body: { sequence: 0, data: "eA==" }, may: ["shell"] },
  { ask: "POST /shell/j-1/resize", body: { sequence: 0, columns: 1, rows: 1 }, may: ["shell"] },
  { ask: "POST /shell/j-1/close", body: {}, may: ["shell"] },
];

const send = async (
  { ask, body }: { ask: string; body?: object },
  { token, ...changes }: Partial<ApiOptions> & { token?: string },
  asked: string[] = [],
) => {
  const [method = "", path = ""] = ask.split(" ");
  const app = apiOf(changes, asked);
  const answer = await app.inject({
    method: method === "GET" ? "GET" : "POST",
    url: `/api/v1${path}`,
    headers: {
      host: "localhost",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(Buffer.isBuffer(body) && { "content-type": "application/octet-stream" }),
    },
    ...(body !== undefined && { payload: body }),
  });
  await app.close();
  // A browser would send one along with what another site asks for.
  expect(answer.headers["set-cookie"]).toBeUndefined();
  return answer.statusCode;
};

/** A part's own answer: it was asked. */
const isReached = (status: number): boolean => status === 200 || status === 409;

describe("who may do what", () => {
  it.each(MATRIX)("$ask is for $may", async ({ ask, may, ...rest }) => {
    for (const role of ROLES) {
      const status = await send({ ask, ...rest }, { users, token: tokenOf(role) });
      expect({ role, status }).toEqual({ role, status: may.includes(role) ? expect.toSatisfy(isReached) : 403 });
    }
    expect(await send({ ask, ...rest }, { users, token: TOKEN })).toSatisfy(isReached);
    expect(await send({ ask, ...rest }, { users })).toBe(401);
    expect(await send({ ask, ...rest }, { users, token: `${TOKEN}x` })).toBe(401);
  });

  it("is open for reading the fleet on this machine while there are no users, and for nothing else", async () => {
    for (const { ask, may, ...rest } of MATRIX) {
      const isOpen = ask.startsWith("GET") && may === EVERYBODY;
      expect({ ask, status: await send({ ask, ...rest }, {}) }).toEqual({ ask, status: isOpen ? 200 : 401 });
      expect({ ask, status: await send({ ask, ...rest }, { isLoopback: false }) }).toEqual({ ask, status: 401 });
    }
  });

  it("is told to the parts by the name of the token, not by the name that was claimed", async () => {
    const asked: string[] = [];
    const claims = { approved: true, by: "somebody-else" };
    await send({ ask: "POST /jobs", body: REQUEST }, { users, token: tokenOf("operator") }, asked);
    await send({ ask: "POST /runs/r/decision", body: claims }, { users, token: tokenOf("approver") }, asked);
    await send({ ask: "POST /runs/r/decision", body: claims }, { users, token: TOKEN }, asked);
    expect(asked).toEqual(["submit by a-operator", "decide by a-approver", "decide by somebody-else"]);
  });
});

describe("what does not fit", () => {
  it.each([
    { name: "a job for nobody in particular", ask: "POST /jobs", body: { executor: "exec.run" } },
    { name: "a job with a word too many", ask: "POST /jobs", body: { ...REQUEST, sudo: true } },
    { name: "input that is no base64", ask: "POST /shell/j-1/input", body: { sequence: 0, data: "***" } },
    { name: "input before the first", ask: "POST /shell/j-1/input", body: { sequence: -1, data: "" } },
    { name: "a terminal without columns", ask: "POST /shell", body: { host: "h", columns: 0 } },
    { name: "a terminal type with an escape", ask: "POST /shell", body: { host: "h", term: "\u001bc" } },
    { name: "a session without end", ask: "POST /shell", body: { host: "h", for_ms: 3_600_001 } },
    { name: "a site server without its site", ask: "POST /identities/s/revoke", body: { kind: "site" } },
    { name: "a host with a site", ask: "POST /identities/h/revoke", body: { site: "paris" } },
    { name: "an identity of no kind", ask: "POST /identities/h/revoke", body: { kind: "server", site: "paris" } },
    { name: "a revocation with a word too many", ask: "POST /identities/h/revoke", body: { for: "site" } },
    { name: "a state that there is not", ask: "GET /jobs?state=flying" },
    { name: "more than a page", ask: "GET /jobs/j-1?limit=100000" },
    {
      name: "a release that is longer than the body",
      ask: "POST /plugins/releases",
      body: Buffer.from([0, 0, 9, 9, 1]),
    },
    { name: "a release that is not JSON", ask: "POST /plugins/releases", body: Buffer.from([0, 0, 0, 1, 123]) },
  ])("is refused: $name", async ({ ask, body }) => {
    expect(await send({ ask, ...(body !== undefined && { body }) }, { token: TOKEN })).toBe(400);
  });

  it("is refused, and no fault of ours: a job that too many follow already", async () => {
    const asked = platform([]);
    const follow = () => {
      throw new RangeError("100 follow the job j-1 already");
    };
    const api = apiOf({ agentPlatform: { ...asked, fleet: { ...asked.fleet, follow } } });
    const answer = await api.inject({ url: "/api/v1/jobs/j-1/events", headers: { host: "localhost" } });
    expect([answer.statusCode, answer.json().error.code]).toEqual([409, "refused"]);
  });
});
