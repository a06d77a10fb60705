import fc from "fast-check";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { z as real } from "zod";
import { z as small } from "./small-zod.ts";

/*
 * The records that a released agent reads, made twice from the same source: with zod, and with what stands in for it in the release.
 * Every verdict and every value has to be the same, on good records and on damaged ones.
 */

interface Reader {
  safeParse(value: unknown): { success: boolean; data?: unknown };
}
type Readers = Readonly<Record<string, Reader>>;

const load = async (): Promise<Readers> => {
  const schemas = await import("@homeostat/schemas");
  const messages = await import("../../channel/messages.ts");
  const frames = await import("../../channel/frame.ts");
  const enrolment = await import("../../channel/enrolment.ts");
  const { Command, SignedCancel, Dispatch, AgentOrder, DesiredPlugins, CommandResult, Heartbeat, PluginRelease } =
    schemas;
  const { SiteWelcome, ControlState, GoAway, FetchRequest } = frames;
  return {
    Command,
    SignedCancel,
    Dispatch,
    AgentOrder,
    DesiredPlugins,
    CommandResult,
    Heartbeat,
    PluginRelease,
    ToAgent: messages.ToAgent,
    FromAgent: messages.FromAgent,
    EnrolReply: enrolment.EnrolReply,
    SiteWelcome,
    ControlState,
    GoAway,
    FetchRequest,
  };
};

const SHA = "a".repeat(64);
const GRANT = {
  command_id: "j1.0",
  job_id: "j1",
  requested_by: "ann",
  executor: "exec.run",
  args_sha256: SHA,
  risk: "reversible",
  targets: { root: SHA, count: 3, sites: { fra: { targeted: 1, of: 10 } } },
  approvals: [{ by: "bob", at_unix_ms: 5 }],
  issued_at_unix_ms: 1,
  not_after_unix_ms: 2,
  timeout_ms: 1_000,
  output_bytes_max: 0,
  limits: { cpu_percent: 50, memory_bytes: 4 * 1_048_576 },
};
const SIGNED = { grant: GRANT, key_id: "0011223344556677", signature: "AAAA" };
const COMMAND = {
  signed: SIGNED,
  args: { name: "echo", args: { n: [1, { deep: null }] } },
  host: "web-1",
  proof: { index: 0, path: [SHA, SHA] },
};
const CANCEL = {
  cancel: { command_id: "j1.0", hosts: [], cancelled_by: "ann", at_unix_ms: 1, not_after_unix_ms: 2 },
  key_id: "k",
  signature: "QUJD",
};
const RELEASE = {
  manifest: {
    name: "disk",
    version: "1.2.3",
    kind: "static",
    run: { command: "bin/disk", args: ["-v"] },
    executors: [
      { name: "disk.scan", risk: "read_only", args_schema: { type: "object", properties: { a: { type: "string" } } } },
    ],
    limits: { memory_bytes: 8 * 1_048_576, call_timeout_ms: 5 },
    config_schema: { type: "object" },
  },
  sha256: SHA,
  size_bytes: 10,
  key_id: "k",
  signature: "QQ==",
};
const DESIRED = { revision: 4, plugins: [{ release: RELEASE, config: { a: [true] }, wished_at_unix_ms: 7 }] };
const RESULT = {
  command_id: "j1.0",
  host: "web-1",
  executor: "exec.run",
  state: "succeeded",
  exit_code: 0,
  stdout: "hello",
  stderr: "",
  output_truncated: false,
  started_at_unix_ms: 1,
  ended_at_unix_ms: null,
  message: "",
};

const GOOD: Readonly<Record<string, readonly unknown[]>> = {
  Command: [COMMAND],
  SignedCancel: [CANCEL],
  Dispatch: [{ signed: SIGNED, args: {}, hosts: ["web-1", "web-2"] }],
  AgentOrder: [{ signed: SIGNED, args: {}, hosts: ["web-1"] }, CANCEL],
  DesiredPlugins: [DESIRED, { revision: 0, plugins: [] }],
  CommandResult: [RESULT],
  Heartbeat: [
    {
      host: "web-1",
      agent_version: "1.0.0",
      state: "online",
      problems: [],
      at_unix_ms: 1,
      started_at_unix_ms: 1,
      ledger: { produced: 2, delivered: 1, spooled: 0, dropped: { full: 1 } },
      spool_bytes: 0,
      plugins: [
        {
          name: "cpu",
          version: "0.0.0",
          state: "running",
          pinned: false,
          last_failed: { version: "1.0.0", reason: "" },
        },
      ],
    },
  ],
  PluginRelease: [
    RELEASE,
    { ...RELEASE, sha256: "", manifest: { name: "cpu", version: "0.0.0", kind: "static", run: "builtin" } },
  ],
  ToAgent: [
    { type: "command", command: COMMAND },
    { type: "cancel", cancel: CANCEL },
    { type: "ack", command_ids: ["j1.0"] },
    { type: "input", command_id: "j1.0", data: "bHM=" },
    { type: "resize", command_id: "j1.0", columns: 80, rows: 24 },
    { type: "desired", desired: DESIRED },
    { type: "certificate", pem: "-----" },
    { type: "clock", asked_at_unix_ms: 0.5, control_unix_ms: 2 },
  ],
  FromAgent: [
    { type: "result", result: RESULT },
    { type: "renew", spki: "x", signature: "" },
    { type: "clock", asked_at_unix_ms: 1 },
  ],
  EnrolReply: [
    { refused: "unknown_token", message: "there is none" },
    { certificate: "x", authority: "y", command_keys: ["k"], servers: ["a:1"], site: "fra", mac: SHA },
  ],
  SiteWelcome: [
    { site: "fra", server: "s1", servers: ["a:1", "[::1]:2"], control: { up: true, epoch: 1, spread_ms: 0 }, more: 1 },
  ],
  ControlState: [{ up: false, epoch: 0, spread_ms: 600_000 }],
  GoAway: [{ reason: "full", retry_after_ms: 5 }],
  FetchRequest: [{ request: 1, sha256: SHA, offset: 0, length: 1 }],
};

/** What a hostile or broken peer may have in any place, as JSON can say it. */
const hostile = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    "",
    "a",
    "\ud800",
    "\u0000",
    "ＡＮＮ",
    "QUI=",
    "QUI",
    "Q===",
    " QUI=",
    "QUI=\n",
    `${SHA}\n`,
    SHA.toUpperCase(),
    "1.2.3\n",
    "web-1\n",
    "__proto__",
    "x".repeat(300),
    0,
    -0,
    -1,
    0.5,
    1e21,
    2 ** 53,
    2 ** 53 - 1,
    -(2 ** 53),
    4_294_967_296,
    true,
    [],
    {},
    [[]],
    "constructor",
    "builtin",
  ),
  fc.jsonValue({ maxDepth: 2 }),
);
const KEYS = ["__proto__", "constructor", "toString", "hasOwnProperty", "type", "valueOf", "", "a", "x".repeat(70)];

type Path = readonly (string | number)[];
const pathsOf = (value: unknown, at: Path = []): Path[] => {
  if (typeof value !== "object" || value === null) return [at];
  return [
    at,
    ...Object.entries(value).flatMap(([key, member]) =>
      pathsOf(member, [...at, Array.isArray(value) ? Number(key) : key]),
    ),
  ];
};

const changed = (value: unknown, path: Path, change: (value: unknown) => unknown): unknown => {
  const [key, ...rest] = path;
  if (key === undefined) return change(value);
  const copy: unknown = Array.isArray(value) ? [...value] : { ...(value as object) };
  const holder = copy as Record<string | number, unknown>;
  holder[key] = changed(holder[key], rest, change);
  return copy;
};

/** As JSON.parse gives it, where __proto__ is a key like any other. */
const withKey = (value: unknown, key: string, member: unknown): unknown => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { [key]: member };
  const text = JSON.stringify(value);
  return JSON.parse(`${text.slice(0, -1)}${text === "{}" ? "" : ","}${JSON.stringify(key)}:${JSON.stringify(member)}}`);
};

const GONE = Symbol("gone");
const withoutGone = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.filter((one) => one !== GONE).map(withoutGone)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(Object.entries(value).flatMap(([k, v]) => (v === GONE ? [] : [[k, withoutGone(v)]])))
      : value;

const damaged = (name: string): fc.Arbitrary<unknown> =>
  fc.constantFrom(...(GOOD[name] ?? [])).chain((good) => {
    const paths = pathsOf(good);
    const change = fc.oneof(
      fc.record({ path: fc.constantFrom(...paths), to: hostile }).map(
        ({ path, to }) =>
          (v: unknown) =>
            changed(v, path, () => to),
      ),
      fc.constantFrom(...paths).map((path) => (v: unknown) => withoutGone(changed(v, path, () => GONE))),
      fc.record({ path: fc.constantFrom(...paths), key: fc.constantFrom(...KEYS), to: hostile }).map(
        ({ path, key, to }) =>
          (v: unknown) =>
            changed(v, path, (one) => withKey(one, key, to)),
      ),
    );
    return fc.array(change, { maxLength: 2 }).map((changes) =>
      changes.reduce((value, apply) => {
        try {
          return apply(value);
        } catch (error) {
          if (error instanceof TypeError || error instanceof RangeError) return value;
          throw error;
        }
      }, good),
    );
  });

const RUNS = 300;

let ours: Readers;
let theirs: Readers;

beforeAll(async () => {
  theirs = await load();
  vi.resetModules();
  // What the stand-in does not have is for records that no agent reads; those are made of zod here, and looked at nowhere.
  const rest = Object.fromEntries(Object.entries(real).filter(([name]) => !(name in small)));
  vi.doMock("zod", () => ({ z: { ...rest, ...small } }));
  ours = await load();
  vi.doUnmock("zod");
});

const read = (readers: Readers, name: string, value: unknown) => {
  const reader = readers[name];
  if (reader === undefined) throw new Error(`no reader ${name}`);
  return reader.safeParse(value);
};

describe("the agent's records, read without zod", () => {
  test("are made of the stand-in in the one case and of zod in the other", () => {
    expect(ours.Command).toBeInstanceOf(small.ZodType);
    expect(theirs.Command).not.toBeInstanceOf(small.ZodType);
  });

  test.each(Object.keys(GOOD))("%s: the good ones are taken by both", (name) => {
    for (const good of GOOD[name] ?? []) {
      const [mine, other] = [read(ours, name, good), read(theirs, name, good)];
      expect(mine.success).toBe(other.success);
      expect(mine.data).toStrictEqual(other.data);
    }
  });

  test.each(Object.keys(GOOD))("%s: the damaged ones get the same verdict and the same value", (name) => {
    fc.assert(
      fc.property(damaged(name), (value) => {
        const [mine, other] = [read(ours, name, value), read(theirs, name, value)];
        expect(mine.success).toBe(other.success);
        if (mine.success) expect(JSON.stringify(mine.data)).toBe(JSON.stringify(other.data));
      }),
      { numRuns: RUNS },
    );
  });
});
