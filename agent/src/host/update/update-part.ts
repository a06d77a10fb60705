import { execFile } from "node:child_process";
import { createPublicKey, type KeyObject } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { AgentPart, AgentSurface } from "../agent-part.ts";
import { type Executor, failed, type Outcome, refusalOf } from "../executor/executor.ts";
import { CLEAN_PATH } from "../executor/process-group.ts";
import type { FetchPiece } from "../fetch-artefact.ts";
import { compareVersions } from "../plugins/version-order.ts";
import type { UpdateConfig } from "../standalone/standalone-config.ts";
import { AgentRelease, distrustOf, placeRelease, removeOtherVersions } from "./agent-release.ts";
import {
  type FailedVersion,
  newestFailure,
  readUpdateFile,
  removePending,
  updateDir,
  writePending,
  writeUpdateFile,
} from "./update-files.ts";

export const UPDATE_EXECUTOR = "agent.update";
const PROBE_MS = 60_000;

export interface UpdateOptions {
  readonly surface: AgentSurface;
  readonly config: UpdateConfig;
  readonly configFile: string;
  readonly version: string;
  readonly fetch: FetchPiece;
  /** Ends this agent, so that the supervisor takes its turn. */
  readonly restart: (why: string) => void;
  /** This version is in its trial; called once the supervisor keeps it. */
  readonly onKept: (() => void) | null;
}

/** A version that failed is told of for so long, or until a later one runs. */
const FAILURE_TOLD_MS = 24 * 3_600_000;

/** Takes new versions of the agent, and notices when the supervisor keeps this one. */
export const createUpdatePart = (options: UpdateOptions): AgentPart => {
  const { surface, version, onKept } = options;
  let isKept = onKept === null;
  const keep = () => {
    if (isKept || readUpdateFile(surface.dir, "current") !== version) return;
    isKept = true;
    onKept?.();
    removePending(surface.dir);
    removeOtherVersions(surface.dir, new Set([version, readUpdateFile(surface.dir, "previous")]));
  };
  let failure: FailedVersion | null = null;
  return {
    name: "update",
    async start() {
      surface.executors.add(updateExecutor(options));
      failure = newestFailure(surface.dir);
    },
    stop: async () => undefined,
    problems() {
      if (failure === null || compareVersions(version, failure.version) > 0) return [];
      if (surface.now() - failure.at_unix_ms > FAILURE_TOLD_MS) return [];
      return [`update: version ${failure.version} was tried and taken back: ${failure.reason}`];
    },
    collector: { name: "update", everyMs: 1_000, collect: keep },
  };
};

const updateExecutor = (options: UpdateOptions): Executor => {
  const keys = options.config.trusted_keys.map((pem) => createPublicKey(pem));
  return {
    name: UPDATE_EXECUTOR,
    risk: "destructive",
    prepare(args) {
      const parsed = AgentRelease.safeParse(args);
      if (!parsed.success) return refusalOf(parsed.error);
      const refused = refusalOfRelease(parsed.data, keys, options);
      if (refused !== null) return { refused };
      return {
        target: UPDATE_EXECUTOR,
        run: ({ commandId, signal }) => update(parsed.data, commandId, signal, options),
      };
    },
  };
};

const refusalOfRelease = (
  release: AgentRelease,
  keys: readonly KeyObject[],
  { surface: { dir }, version }: UpdateOptions,
): string | null => {
  if (keys.length === 0) return "this host trusts no key for releases of the agent (update.trusted_keys)";
  const distrust = distrustOf(release, keys);
  if (distrust !== null) return `the release of ${release.version} is not to be trusted: ${distrust}`;
  if (release.version === version) return `${version} runs already`;
  const bad = readUpdateFile(dir, `bad/${release.version}`);
  if (bad !== "") return `${release.version} has failed here before: ${bad}`;
  return existsSync(updateDir(dir)) ? null : "no supervisor runs this agent";
};

const update = async (
  release: AgentRelease,
  commandId: string,
  signal: AbortSignal,
  { surface, fetch, configFile, version, restart }: UpdateOptions,
): Promise<Outcome> => {
  const { dir } = surface;
  try {
    const folder = await placeRelease(release, { dir, fetch, signal, random: surface.random });
    await probe(folder, { configFile, version: release.version, signal });
    // What this agent leaves running would be lost.
    await surface.handOver(commandId, signal);
  } catch (error) {
    return notTried(release, error);
  }
  let outcome: Outcome | null = null;
  try {
    writePending(dir, { command_id: commandId, version: release.version, from: version });
    writeUpdateFile(dir, "next", release.version);
  } catch (error) {
    outcome = notTried(release, error);
  }
  // In either case, since nothing begins in this one any more.
  restart(`version ${release.version} is to be tried`);
  // Whoever runs next says how it went (settle-update.ts).
  return outcome ?? new Promise(() => undefined);
};

const notTried = ({ version }: AgentRelease, error: unknown): Outcome =>
  failed(`${version} is not tried: ${error instanceof Error ? error.message : String(error)}`);

/** Has the new version look at this host's configuration, identity and servers, while this one serves on. */
const probe = (
  folder: string,
  { configFile, version, signal }: { configFile: string; version: string; signal: AbortSignal },
): Promise<void> =>
  new Promise((resolve, reject) => {
    const args = [join(folder, "bin", "homeostat-agent.mjs"), "probe", "--config", configFile];
    const options = { timeout: PROBE_MS, killSignal: "SIGKILL" as const, env: { PATH: CLEAN_PATH }, signal };
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (error !== null) {
        const why = error.killed === true ? `no answer within ${PROBE_MS} ms` : errorLine(stderr) || error.message;
        return reject(new Error(`its probe failed: ${why.slice(0, 500)}`));
      }
      if (stdout.trim() !== version)
        return reject(new Error(`its probe says that it is ${stdout.trim().slice(0, 64)}`));
      resolve();
    });
  });

/** The one that names the error; Node's own, of what nobody caught, is followed by a stack. */
const errorLine = (text: string): string => {
  const lines = text.trim().split("\n");
  return lines.find((line) => /^(homeostat-agent: |\w*Error\b)/.test(line)) ?? lines.at(-1) ?? "";
};
