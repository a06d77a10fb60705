import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { type PlatformProcess, runHomeostat } from "./platform-process.ts";

const TOKEN = "the-token-of-the-collector";
const DAY_MS = 86_400_000;

let dir: string;
let platform: PlatformProcess | null = null;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-dlq-"));
});
afterEach(async () => {
  platform?.child.kill("SIGINT");
  await platform?.ended();
  platform = null;
  rmSync(dir, { recursive: true, force: true });
});

/** A verb as a person runs it. */
const run = async (...args: readonly string[]): Promise<{ code: number | string; output: string }> => {
  const verb = runHomeostat([...args, "--data-dir", join(dir, "data")]);
  return { code: await verb.ended(), output: verb.output() };
};
const json = async <T>(shape: z.ZodType<T>, ...args: readonly string[]): Promise<T> => {
  const { output } = await run(...args, "--json");
  return shape.parse(JSON.parse(output));
};

/** Old rows pass the receivers' fence and are too late for ingest. */
const startPlatform = async (): Promise<{ started: PlatformProcess; url: string }> => {
  writeFileSync(join(dir, "token"), TOKEN);
  writeFileSync(
    join(dir, "homeostat.yaml"),
    `data_dir: ${join(dir, "data")}
http: { port: 0 }
agent: { heartbeat_ms: 1000 }
ingest: { late_max_ms: ${DAY_MS} }
receivers:
  http: { port: 0 }
  senders: [{ name: collector, token: { file: ${join(dir, "token")} } }]
`,
  );
  platform = runHomeostat(["start", "--config", join(dir, "homeostat.yaml")], join(dir, "data"));
  await platform.ready();
  const url = /receives .*?(http:\/\/[\w.:]+\d)/.exec(platform.output())?.[1];
  if (url === undefined) throw new Error(`where do the receivers listen? ${platform.output()}`);
  return { started: platform, url };
};

const post = async (url: string, ...rows: readonly { ageMs: number; body: string }[]): Promise<number> => {
  const logRecords = rows.map(({ ageMs, body }) => ({
    timeUnixNano: `${Date.now() - ageMs}000000`,
    body: { stringValue: body },
  }));
  const attributes = [{ key: "service.name", value: { stringValue: "shop" } }];
  const response = await fetch(`${url}/v1/logs`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}` },
    body: JSON.stringify({ resourceLogs: [{ resource: { attributes }, scopeLogs: [{ logRecords }] }] }),
  });
  return response.status;
};

const Page = z.object({
  letters: z.array(
    z.object({ id: z.string(), reason: z.string(), rows: z.number().nullable(), source_topic: z.string() }),
  ),
  next: z.string().nullable(),
});
const Shown = z.object({ content: z.object({ rows: z.array(z.object({ body: z.string() })) }) });
const Replayed = z.object({
  replayed: z.array(z.object({ id: z.string(), rows: z.number() })),
  refused: z.array(z.object({ id: z.string() })),
  dry_run: z.boolean(),
});
const Accounts = z.object({
  ledger: z.array(
    z.object({
      sender: z.string(),
      topic: z.string(),
      state: z.string(),
      inserted: z.number(),
      dead: z.number(),
      difference: z.number().nullable(),
    }),
  ),
});
const Bodies = z.object({ logs: z.array(z.object({ body: z.string() })) });

describe("a person at the command line", () => {
  test("finds a dead letter, looks at it, replays it once, and sees the ledger close", async () => {
    const { started, url } = await startPlatform();
    const rows = [
      { ageMs: 0, body: "in time" },
      { ageMs: 3 * DAY_MS, body: "too late" },
    ];
    expect(await post(url, ...rows)).toBe(200);
    const letters = async () => (await json(Page, "dlq", "list")).letters;
    await expect
      .poll(letters, { interval: 500 })
      .toMatchObject([{ reason: "late", rows: 1, source_topic: "telemetry.logs" }]);
    const [letter] = await letters();
    const id = letter?.id ?? "";
    expect((await run("dlq", "list")).output).toContain(id);
    expect(await run("dlq", "list", "--reason", "malformed")).toMatchObject({ code: 0, output: "no dead letters\n" });
    expect((await json(Shown, "dlq", "show", id)).content.rows).toMatchObject([{ body: "too late" }]);

    expect(await json(Replayed, "dlq", "replay", id, "--dry-run")).toMatchObject({ dry_run: true, refused: [] });
    expect(await json(Replayed, "dlq", "replay", "--all")).toEqual({
      replayed: [expect.objectContaining({ id, rows: 1 })],
      refused: [],
      dry_run: false,
    });
    expect(await run("dlq", "replay", id)).toMatchObject({ code: 0, output: "replayed 1 dead letters, 1 rows\n" });
    const bodies = async () =>
      Bodies.parse(
        await (await started.api(`/api/v1/logs?service_name=shop&from_unix_ms=${Date.now() - 9 * DAY_MS}`)).json(),
      )
        .logs.map(({ body }) => body)
        .sort();
    await expect.poll(bodies, { interval: 250 }).toEqual(["in time", "too late"]);

    const account = async () =>
      (await json(Accounts, "ledger")).ledger.find(
        ({ sender, topic }) => sender.startsWith("gateway:") && topic === "telemetry.logs",
      );
    // A row and what is told of its resource were inserted, one row is dead.
    await expect
      .poll(account, { interval: 1000 })
      .toMatchObject({ state: "closed", difference: 0, inserted: 2, dead: 1 });
    const { code, output } = await run("ledger");
    expect({ code, last: output.trim().split("\n").at(-1) }).toEqual({ code: 0, last: "every account closes" });

    const gone = await run("dlq", "replay", "telemetry.logs.dlq/0/999");
    expect(gone).toMatchObject({ code: 1 });
    expect(gone.output).toContain("there is no such dead letter");
    expect((await run("dlq", "show", "telemetry.logs.dlq/0/999")).code).toBe(1);
    expect((await run("dlq", "replay")).code).toBe(2);
    expect((await run("ledger", "--since", "soon")).code).toBe(2);
  }, 120_000);
});
