import { createHash } from "node:crypto";
import type { Finding } from "@homeostat/schemas";

/** The platform says so before its own data fills the disk that it lives on: the two thresholds make a hysteresis. */
const FIRING_FREE_SHARE = 0.08;
const CLEAR_FREE_SHARE = 0.12;

export interface DiskSpace {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export interface DiskGuardPorts {
  readonly host: string;
  readonly dataDir: string;
  readonly readSpace: () => Promise<DiskSpace>;
  readonly publish: (finding: Finding) => Promise<void>;
  readonly now: () => number;
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

const findingOf = (
  { host, dataDir, now }: DiskGuardPorts,
  { startedAtUnixMs, freeShare, state }: { startedAtUnixMs: number; freeShare: number; state: "firing" | "resolved" },
): Finding => ({
  finding_id: createHash("sha256")
    .update(`data-dir-filling/${host}/${dataDir}/${startedAtUnixMs}`)
    .digest("hex")
    .slice(0, 32),
  detector: "disk_guard",
  rule: "data-dir-filling",
  state,
  severity: "critical",
  category: "capacity",
  entity: { host, path: dataDir },
  started_at_unix_ms: startedAtUnixMs,
  detected_at_unix_ms: state === "firing" ? startedAtUnixMs : now(),
  value: freeShare,
  unit: "1",
  expected: { low: FIRING_FREE_SHARE, high: null },
  summary:
    state === "firing"
      ? `The disk of Homeostat's own data on ${host} has ${percent(freeShare)} left: shorten the retention or make room.`
      : `The disk of Homeostat's own data on ${host} has ${percent(freeShare)} left again.`,
  labels: {},
  evidence: [],
});

/** One look at the disk of the data directory; call it once a minute. */
export const createDiskGuard = (ports: DiskGuardPorts): { check(): Promise<void> } => {
  let startedAtUnixMs: number | null = null;
  return {
    async check() {
      const { freeBytes, totalBytes } = await ports.readSpace();
      const freeShare = totalBytes === 0 ? 1 : freeBytes / totalBytes;
      if (freeShare < FIRING_FREE_SHARE) startedAtUnixMs ??= ports.now();
      if (startedAtUnixMs === null) return;
      const state = freeShare > CLEAR_FREE_SHARE ? "resolved" : "firing";
      await ports.publish(findingOf(ports, { startedAtUnixMs, freeShare, state }));
      if (state === "resolved") startedAtUnixMs = null;
    },
  };
};
