import { readFileSync, statfs } from "node:fs";
import { promisify } from "node:util";
import type { Series, Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";

/** Not from fs/promises, which would take 0.2 MB in an agent that stays. */
const statfsAsync = promisify(statfs);
/** Local file systems that hold data. Network and FUSE mounts are left out: a call into a hung one never returns. */
const DATA_TYPES = new Set([
  "ext2",
  "ext3",
  "ext4",
  "xfs",
  "btrfs",
  "zfs",
  "f2fs",
  "jfs",
  "reiserfs",
  "vfat",
  "exfat",
  "ntfs3",
  "bcachefs",
  "tmpfs",
  "overlay",
]);
const SKIPPED_POINTS =
  /^\/(?:proc|sys|dev|run\/(?:user|credentials|lock)|snap|var\/lib\/docker\/(?:overlay2|containers)|var\/lib\/kubelet)(?:\/|$)/;
const MOUNTS_MAX = 64;
const MOUNTS_EVERY_MS = 30_000;
const FAR_EVERY_MS = 10_000;
/** From here on a disk is looked at with every tick. */
const CLOSE_UTILIZATION = 0.85;

interface Mount {
  readonly point: string;
  readonly usage: readonly [Series, Series];
  readonly utilization: Series;
  readonly inodes: readonly [Series, Series];
  readonly inodesUtilization: Series;
  nextAtUnixMs: number;
  isPending: boolean;
}

export interface MountPoint {
  readonly device: string;
  readonly point: string;
  readonly type: string;
}

/** Mount points of /proc/self/mountinfo worth watching; of several on one device (bind mounts), the shortest. */
export const dataMounts = (mountinfo: string): MountPoint[] => {
  const byDevice = new Map<string, MountPoint>();
  for (const line of mountinfo.split("\n")) {
    const [head = "", tail = ""] = line.split(" - ");
    const [, , device = "", , point = ""] = head.split(" ");
    const type = tail.split(" ")[0] ?? "";
    const mount = { device, point: unescapeOctal(point), type };
    if (!DATA_TYPES.has(type) || SKIPPED_POINTS.test(mount.point) || (type === "overlay" && mount.point !== "/"))
      continue;
    const known = byDevice.get(device);
    if (known === undefined || mount.point.length < known.point.length) byDevice.set(device, mount);
  }
  return [...byDevice.values()].slice(0, MOUNTS_MAX);
};

/** Spaces and the like stand as \040 (proc_pid_mountinfo(5)). */
const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** statfs runs off the main thread, one call at a time for each mount: one that hangs is never asked again. */
export const filesystem = (options: { proc: string; sink: Sink }): Collector => {
  const mounts = new Map<string, Mount>();
  let mountsReadAtUnixMs = Number.NEGATIVE_INFINITY;
  const { sink } = options;
  const begin = (point: string): Mount => {
    const gauge = (metric: string, unit: string, state: string) =>
      sink.gauge(metric, unit, { mountpoint: point, state });
    return {
      point,
      usage: [gauge("system.filesystem.usage", "By", "used"), gauge("system.filesystem.usage", "By", "free")],
      utilization: gauge("system.filesystem.utilization", "1", "used"),
      inodes: [
        gauge("system.filesystem.inodes.usage", "{inode}", "used"),
        gauge("system.filesystem.inodes.usage", "{inode}", "free"),
      ],
      inodesUtilization: gauge("system.filesystem.inodes.utilization", "1", "used"),
      nextAtUnixMs: 0,
      isPending: false,
    };
  };
  const readMounts = (nowUnixMs: number) => {
    mountsReadAtUnixMs = nowUnixMs;
    const points = dataMounts(readFileSync(`${options.proc}/self/mountinfo`, "utf8")).map((mount) => mount.point);
    for (const point of mounts.keys()) if (!points.includes(point)) mounts.delete(point);
    for (const point of points) if (!mounts.has(point)) mounts.set(point, begin(point));
  };
  const measure = async (mount: Mount, nowUnixMs: number) => {
    mount.isPending = true;
    try {
      const { blocks, bfree, bavail, bsize, files, ffree } = await statfsAsync(mount.point);
      // As df(1): what is reserved for root counts neither as used nor as free.
      const used = blocks - bfree;
      const utilization = used / (used + bavail);
      mount.usage[0].record(used * bsize);
      mount.usage[1].record(bavail * bsize);
      if (blocks > 0) mount.utilization.record(utilization);
      if (files > 0) {
        mount.inodes[0].record(files - ffree);
        mount.inodes[1].record(ffree);
        mount.inodesUtilization.record((files - ffree) / files);
      }
      const isClose = utilization > CLOSE_UTILIZATION || (files > 0 && 1 - ffree / files > CLOSE_UTILIZATION);
      mount.nextAtUnixMs = nowUnixMs + (isClose ? 0 : FAR_EVERY_MS);
    } catch {
      // Unmounted meanwhile, or not ours to see: the mount list is read again soon.
      mount.nextAtUnixMs = nowUnixMs + FAR_EVERY_MS;
    }
    mount.isPending = false;
  };
  return {
    name: "filesystem",
    everyMs: 0,
    collect(nowUnixMs) {
      if (Math.abs(nowUnixMs - mountsReadAtUnixMs) >= MOUNTS_EVERY_MS) readMounts(nowUnixMs);
      for (const mount of mounts.values())
        if (!mount.isPending && nowUnixMs >= mount.nextAtUnixMs) void measure(mount, nowUnixMs);
    },
    get isPending() {
      for (const mount of mounts.values()) if (mount.isPending) return true;
      return false;
    },
  };
};
