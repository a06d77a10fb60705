import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { DesiredPlugin, DesiredPlugins, Log, PluginStatus } from "@homeostat/schemas";
import { onTestFinished } from "vitest";
import { type Packed, packPlugin } from "../../control/plugins/pack.ts";
import { confineBy } from "../executor/child-limits.ts";
import { CommandInput } from "../executor/command-input.ts";
import type { Execution } from "../executor/executor.ts";
import { createExecutorRegistry, type ExecutorRegistry } from "../executor/registry.ts";
import type { FetchPiece } from "../fetch-artefact.ts";
import type { Sink } from "../metrics/series-book.ts";
import type { Builtin } from "./builtin.ts";
import type { Pace } from "./pace.ts";
import { createPluginHost } from "./plugin-host.ts";
import type { PluginHostOptions } from "./plugin-host-types.ts";

export const publisher = generateKeyPairSync("ed25519");
export const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export const temporary = (): string => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-plugins-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

/** Everything waits as briefly as it can: nothing here depends on how long. */
export const QUICK: Pace = {
  backOffMs: 5,
  backOffMsMax: 20,
  pieceRetryMs: 5,
  fetchRetryMs: 5,
  fetchRetryMsMax: 20,
  stopGraceMs: 300,
  restartWindowMs: 600_000,
  unpackMs: 20_000,
};

export interface Sources {
  readonly manifest: Readonly<Record<string, unknown>>;
  /** By path; those that begin with #! are made executable. */
  readonly files: Readonly<Record<string, string>>;
}

export const pack = async ({ manifest, files }: Sources, key: KeyObject = publisher.privateKey): Promise<Packed> => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-pack-"));
  try {
    writeFileSync(join(dir, "plugin.json"), JSON.stringify(manifest));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), text);
      if (text.startsWith("#!")) chmodSync(join(dir, path), 0o755);
    }
    return await packPlugin(dir, key);
  } finally {
    rmSync(dir, { recursive: true });
  }
};

/** A static plugin in shell: answers its selftest well, and `body` does the rest with the request in $request. */
export const shellPlugin = (body: string, more: Readonly<Record<string, unknown>> = {}): Sources => ({
  manifest: {
    name: "demo",
    version: "1.0.0",
    kind: "static",
    run: { command: "run.sh" },
    executors: [
      {
        name: "demo.say",
        risk: "read_only",
        args_schema: { type: "object", properties: { word: { type: "string", maxLength: 100 } }, required: ["word"] },
      },
    ],
    ...more,
  },
  files: {
    "run.sh": `#!/bin/sh
read -r request
case "$request" in *'"call":"selftest"'*) echo '{"result":{"state":"succeeded"}}'; exit 0;; esac
${body}
`,
  },
});

/** A resident plugin in Python; `body` may redefine what it does with a message. */
export const pythonPlugin = (body: string, more: Readonly<Record<string, unknown>> = {}): Sources => ({
  manifest: {
    name: "demo",
    version: "1.0.0",
    kind: "resident",
    run: { command: "run.py" },
    health: { interval_ms: 200, timeout_ms: 30_000, ready_ms: 60_000, restarts_max: 1 },
    executors: [
      {
        name: "demo.say",
        risk: "read_only",
        args_schema: { type: "object", properties: { word: { type: "string" } } },
      },
    ],
    ...more,
  },
  files: {
    "run.py": `#!/usr/bin/env python3
import json, os, sys, time
def say(message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()
def start(hello):
    say({"ready": {"protocol": 1}})
def health(id):
    say({"id": id, "result": {"state": "succeeded"}})
def execute(id, executor, args):
    say({"id": id, "output": args.get("word", "")})
    say({"id": id, "result": {"state": "succeeded", "exit_code": 0}})
${body}
for line in sys.stdin:
    message = json.loads(line)
    if "hello" in message: start(message["hello"])
    elif "cancel" in message: pass
    elif message["call"] == "health": health(message["id"])
    else: execute(message["id"], message["executor"], message["args"])
`,
  },
});

export const wish = ({ release }: Packed, more: Partial<DesiredPlugin> = {}): DesiredPlugin => ({
  release,
  config: {},
  pinned: false,
  enabled: true,
  wished_at_unix_ms: 1,
  ...more,
});

export const wishes = (...plugins: DesiredPlugin[]): DesiredPlugins => ({ revision: 1, plugins });

export interface Recorded {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface TestHost {
  readonly host: ReturnType<typeof createPluginHost>;
  readonly dir: string;
  readonly executors: ExecutorRegistry;
  readonly recorded: Recorded[];
  readonly fetched: { count: number };
  /** Resolves when the status of the plugin is as wanted. */
  until(name: string, isSo: (status: PluginStatus) => boolean): Promise<PluginStatus>;
  bring(...plugins: DesiredPlugin[]): Promise<void>;
}

/** Serves the artefacts of these. */
export const fetchOf =
  (...packed: readonly Packed[]): FetchPiece =>
  async (sha256, offset, length) => {
    const found = packed.find(({ release }) => release.sha256 === sha256);
    if (found === undefined) throw new Error(`no artefact ${sha256}`);
    return found.artefact.subarray(offset, offset + length);
  };

export const openHost = (
  packed: readonly Packed[],
  more: Partial<PluginHostOptions> & { builtins?: readonly Builtin[] } = {},
): TestHost => {
  const dir = more.dir ?? temporary();
  const executors = createExecutorRegistry([
    { name: "exec.run", risk: "destructive", prepare: () => ({ refused: "of the test" }) },
  ]);
  const recorded: Recorded[] = [];
  const series = (name: string, _: string, labels: Readonly<Record<string, string>> = {}) => ({
    record: (value: number) => void recorded.push({ name, labels, value }),
  });
  const sink: Sink = { gauge: series, counter: series };
  const fetched = { count: 0 };
  const serve = more.fetch ?? fetchOf(...packed);
  const watchers = new Set<() => void>();
  const host = createPluginHost({
    trustedKeys: [publisher.publicKey],
    denied: [],
    executors,
    sink,
    builtins: [],
    confine: confineBy({ cgroups: null, pidsMax: 64 }),
    now: Date.now,
    random: () => 0.5,
    log: silent,
    pace: QUICK,
    ...more,
    dir,
    fetch: async (...piece) => {
      fetched.count += 1;
      return serve(...piece);
    },
    onChange: () => {
      for (const watcher of watchers) watcher();
    },
  });
  onTestFinished(() => host.stop());
  const until = (name: string, isSo: (status: PluginStatus) => boolean) =>
    new Promise<PluginStatus>((resolve) => {
      const look = () => {
        const status = host.status().find((one) => one.name === name);
        if (status === undefined || !isSo(status)) return;
        watchers.delete(look);
        resolve(status);
      };
      watchers.add(look);
      look();
    });
  const bring = async (...plugins: DesiredPlugin[]) => {
    await host.desired(wishes(...plugins));
    await host.settled();
  };
  return { host, dir, executors, recorded, fetched, until, bring };
};

export const statusOf = ({ host }: TestHost, name = "demo"): PluginStatus | undefined =>
  host.status().find((status) => status.name === name);

/** Runs an executor as the agent would; its output pieces are in `pieces`. */
export const runExecutor = async (
  { executors }: TestHost,
  name: string,
  args: unknown,
  more: Partial<Execution> = {},
) => {
  const prepared = executors.get(name)?.prepare(args) ?? { refused: "no such executor" };
  if ("refused" in prepared) return prepared;
  const pieces: string[] = [];
  const outcome = await prepared.run({
    commandId: "c1",
    requestedBy: "ada",
    signal: new AbortController().signal,
    timeoutMs: 10_000,
    outputBytesMax: 65_536,
    limits: {},
    mark: { name: "HOMEOSTAT_COMMAND", value: "mark" },
    noteChild: () => undefined,
    output: (_, data) => {
      pieces.push(data.toString());
      return null;
    },
    input: new CommandInput(),
    ...more,
  });
  return { ...outcome, pieces };
};
