import { createHash } from "node:crypto";
import type { PluginRollout, PluginWish } from "@homeostat/schemas";
import type { PluginHostView } from "./catalog-types.ts";

/** Of the hosts that a default plugin is for. Each step waits until the one before has fared well. */
export const STEPS_PERCENT = [1, 5, 20, 50, 100] as const;
export const EVERYBODY = 4_294_967_295;
/** A step is not looked at before: a plugin that falls over does so within this, restarts included. */
const SETTLE_MS = 120_000;
/** Of those hosts of a step that are heard of, so many must have said how they fare. */
const HEARD_PERCENT = 90;
/** More failures than this among those that have said how they fare halt it: in a small step a single one. */
const FAILED_PERCENT_MAX = 5;
/** Who has been silent for longer is not waited for. */
const SILENT_MS = 120_000;

/** Where a host stands in the order in which a plugin's releases reach it; another plugin has another order. */
export const rolloutDigest = (plugin: string, host: string): number =>
  createHash("sha256").update(`${plugin}\n${host}`).digest().readUInt32BE(0);

/** The digest up to which so many percent of these hosts, and at least one, have theirs. */
const digestAt = (digests: readonly number[], percent: number): number => {
  if (percent >= 100) return EVERYBODY;
  const sorted = [...digests].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? 0;
};

export const firstStep = (
  previous: PluginRollout["previous"],
  { plugin, hosts, nowUnixMs }: { plugin: string; hosts: readonly string[]; nowUnixMs: number },
): PluginRollout => ({
  step: 0,
  up_to_digest: digestAt(
    hosts.map((host) => rolloutDigest(plugin, host)),
    STEPS_PERCENT[0],
  ),
  step_began_unix_ms: nowUnixMs,
  previous,
  halted: "",
});

/** The roll-out as it should be now: the same object when nothing is to be done, null when it has reached everybody and all fare well. */
export const nextStep = (
  wish: PluginWish,
  rollout: PluginRollout,
  { hosts, nowUnixMs }: { hosts: readonly PluginHostView[]; nowUnixMs: number },
): PluginRollout | null => {
  if (rollout.halted !== "") return rollout;
  const { name, version } = wish.release.manifest;
  const digests = hosts.map(({ host }) => rolloutDigest(name, host));
  const updated = hosts.filter((_, at) => (digests[at] ?? EVERYBODY) <= rollout.up_to_digest);
  const heardOf = updated.filter(({ seenAtUnixMs }) => nowUnixMs - seenAtUnixMs <= SILENT_MS);
  const { well, failed } = tally(heardOf, { name, version });
  const told = well + failed;
  if (failed * 100 > told * FAILED_PERCENT_MAX) {
    const percent = STEPS_PERCENT[rollout.step] ?? 100;
    return { ...rollout, halted: `${failed} of ${told} hosts could not have ${version}, in the step of ${percent} %` };
  }
  // By a clock that has been set back since: it would wait until then.
  if (rollout.step_began_unix_ms > nowUnixMs) return { ...rollout, step_began_unix_ms: nowUnixMs };
  if (nowUnixMs - rollout.step_began_unix_ms < SETTLE_MS) return rollout;
  if (told * 100 < heardOf.length * HEARD_PERCENT) return rollout;
  // Nobody to learn from: an empty fleet waits for its first host.
  if (told === 0) return rollout;
  const step = rollout.step + 1;
  const percent = STEPS_PERCENT[step];
  if (percent === undefined) return null;
  return { ...rollout, step, up_to_digest: digestAt(digests, percent), step_began_unix_ms: nowUnixMs };
};

const tally = (
  hosts: readonly PluginHostView[],
  { name, version }: { name: string; version: string },
): { well: number; failed: number } => {
  let [well, failed] = [0, 0];
  for (const { plugins } of hosts) {
    const status = plugins.find((plugin) => plugin.name === name);
    if (status === undefined) continue;
    if (status.last_failed?.version === version) failed += 1;
    else if (status.version === version && ["running", "idle", "disabled"].includes(status.state)) well += 1;
  }
  return { well, failed };
};
