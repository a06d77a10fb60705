import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Labels, Series, Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import { cpu } from "./cpu.ts";
import { diskIo } from "./disk-io.ts";
import { dataMounts } from "./filesystem.ts";
import { load } from "./load.ts";
import { Meminfo } from "./meminfo.ts";
import { memory } from "./memory.ts";
import { network } from "./network.ts";
import { paging } from "./paging.ts";
import { pathUsage } from "./path.ts";
import { ProcFile } from "./proc-file.ts";
import { processes } from "./process.ts";
import { isAlive, readProcessStat } from "./process-stat.ts";

/** Keeps what is recorded, by name and labels. */
class Recorder implements Sink {
  readonly values = new Map<string, number>();
  gauge = (name: string, _unit: string, labels: Labels = {}): Series => {
    const key = [name, ...Object.values(labels)].join(" ");
    return { record: (value) => void this.values.set(key, value) };
  };
  counter = this.gauge;
  get(key: string): number {
    return this.values.get(key) ?? Number.NaN;
  }
}

let proc: string;
let sink: Recorder;
beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), "proc-"));
  sink = new Recorder();
});
afterEach(() => rmSync(proc, { recursive: true, force: true }));
const write = (name: string, text: string) => writeFileSync(join(proc, name), text);
const collect = (collector: Collector, nowUnixMs = 1000) => {
  collector.collect(nowUnixMs);
  return sink.values;
};

describe("collectors", () => {
  test("cpu: shares of the time between two calls, and none over a counter that went back", () => {
    write("stat", "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n");
    const collector = cpu({ proc, sink });
    expect(collect(collector).size).toBe(0);
    write("stat", "cpu  160 0 70 900 70 0 0 0 0 0\ncpu0 1 2 3\n");
    collect(collector);
    expect([sink.get("system.cpu.utilization user"), sink.get("system.cpu.utilization idle")]).toEqual([0.3, 0.5]);
    sink.values.clear();
    write("stat", "cpu  10 0 7 90 7 0 0 0 0 0\n");
    expect(collect(collector).size).toBe(0);
  });

  test("load, memory and swap as the kernel tells them", () => {
    write("loadavg", "0.25 1.50 12.00 1/92 7326\n");
    write(
      "meminfo",
      "MemTotal: 1000 kB\nMemFree: 200 kB\nMemAvailable: 400 kB\nBuffers: 10 kB\nCached: 90 kB\nSwapTotal: 100 kB\nSwapFree: 75 kB\nSReclaimable: 10 kB\n",
    );
    collect(load({ proc, sink }));
    const meminfo = new Meminfo(proc);
    collect(memory({ meminfo, sink }));
    collect(paging({ meminfo, sink }));
    expect(sink.get("system.cpu.load_average.15m")).toBe(12);
    expect(sink.get("system.memory.usage used")).toBe(600 * 1024);
    expect(sink.get("system.memory.utilization used")).toBe(0.6);
    expect(sink.get("system.memory.usage cached")).toBe(100 * 1024);
    expect(sink.get("system.paging.utilization used")).toBe(0.25);
  });

  test("memory: fields are found again after their lines have moved, and never within another's name", () => {
    const meminfo = new Meminfo(proc);
    write("meminfo", "MemTotal: 9 kB\nSwapCached: 1 kB\nCached: 2 kB\n");
    expect(meminfo.read(1)).toMatchObject({ Cached: 2048, SwapFree: Number.NaN });
    write("meminfo", "MemTotal: 9 kB\nNew: 0 kB\nSwapCached: 100 kB\nCached: 3 kB\nSwapFree: 4 kB\n");
    expect(meminfo.read(1)).toMatchObject({ Cached: 2048 });
    expect(meminfo.read(2)).toMatchObject({ MemTotal: 9216, Cached: 3072, SwapFree: 4096 });
    write("meminfo", "SwapCached: 0000 kB\nxxxxxxxxxxxxCached: 5 kB\n");
    expect(meminfo.read(3)).toMatchObject({ MemTotal: Number.NaN, Cached: Number.NaN });
  });

  test("paging: a machine without swap has no utilization", () => {
    write("meminfo", "SwapTotal: 0 kB\nSwapFree: 0 kB\n");
    collect(paging({ meminfo: new Meminfo(proc), sink }));
    expect([...sink.values.keys()]).toEqual(["system.paging.usage used", "system.paging.usage free"]);
  });

  test("disk_io: bytes of whole disks, not of partitions and loops", () => {
    write(
      "diskstats",
      "   7 0 loop0 1 1 1 1 1 1 1 1 1 1 1\n 254 0 vda 100 9 2000 7 200 8 4000 9 0 1500 16\n 254 1 vda1 1 1 1 1 1 1 1 1 1 1 1\n 259 0 nvme0n1 1 0 8 0 0 0 0 0 0 0 0\n",
    );
    collect(diskIo({ proc, sink }));
    expect(sink.get("system.disk.io vda read")).toBe(2000 * 512);
    expect(sink.get("system.disk.io vda write")).toBe(4000 * 512);
    expect(sink.get("system.disk.operations vda write")).toBe(200);
    expect(sink.get("system.disk.io_time vda")).toBe(1.5);
    expect(sink.get("system.disk.io nvme0n1 read")).toBe(4096);
    expect([...sink.values.keys()].filter((key) => /loop0|vda1/.test(key))).toEqual([]);
  });

  test("network: both directions of real interfaces", () => {
    mkdirSync(join(proc, "net"));
    write(
      "net/dev",
      "Inter-|   Receive\n face |bytes\n    lo: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n  eth0:1735487307 40152 3 4 0 0 0 0 2730579 24009 7 8 0 0 0 0\n",
    );
    collect(network({ proc, sink }));
    expect(sink.get("system.network.io eth0 receive")).toBe(1_735_487_307);
    expect(sink.get("system.network.io eth0 transmit")).toBe(2_730_579);
    expect(sink.get("system.network.errors eth0 receive")).toBe(3);
    expect(sink.get("system.network.dropped eth0 transmit")).toBe(8);
    expect([...sink.values.keys()].some((key) => key.includes(" lo "))).toBe(false);
  });

  test("filesystem: one mount a device, no pseudo, network or bind mounts", () => {
    const mountinfo = [
      "22 27 0:21 / /proc rw - proc proc rw",
      "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw",
      "30 27 254:0 /srv /mnt/bind rw shared:1 - ext4 /dev/vda rw",
      "31 27 254:1 / /mnt/with\\040space rw - xfs /dev/vdb rw",
      "32 27 0:50 / /mnt/nfs rw - nfs4 server:/ rw",
      "33 27 0:51 / /mnt/sshfs rw - fuse.sshfs host: rw",
      "34 27 0:52 / /dev/shm rw - tmpfs tmpfs rw",
      "35 27 0:53 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw",
    ].join("\n");
    expect(dataMounts(mountinfo).map(({ point }) => point)).toEqual(["/", "/mnt/with space"]);
  });

  test("process: a command with spaces and brackets, and a zombie", () => {
    write("a", "42 (a) b (c) R 1 42 42 0 -1 4194304 102 0 0 0 30 12 0 0 20 0 1 0 164647 3133440 394 1 1\n");
    write("z", "43 (gone) Z 1 43 43 0 -1 4194304 102 0 0 0 30 12 0 0 20 0 1 0 164647 0 0 1 1\n");
    expect(readProcessStat(new ProcFile(join(proc, "a")))).toEqual({
      state: "R",
      group: 42,
      cpuTicks: 42,
      startTicks: 164_647,
      rssBytes: 394 * 4096,
    });
    expect(isAlive(readProcessStat(new ProcFile(join(proc, "z"))))).toBe(false);
    expect(readProcessStat(new ProcFile(join(proc, "none")))).toBeNull();
  });

  test("process: finds this very process by a part of its command line, and none by another", () => {
    const watch = [
      { name: "me", match: readFileSync(`/proc/${process.pid}/comm`, "utf8").trim() },
      { name: "nobody", match: "no such process anywhere" },
    ];
    const collector = processes({ proc: "/proc", sink, cpuCount: 2, watch });
    collect(collector, 1000);
    collect(collector, 2000);
    collector.close?.();
    expect(sink.get("homeostat.process.count me")).toBeGreaterThan(0);
    expect(sink.get("process.memory.usage me")).toBeGreaterThan(10_000_000);
    expect(sink.get("process.open_file_descriptors me")).toBeGreaterThan(5);
    expect(sink.get("homeostat.process.count nobody")).toBe(0);
  });

  test("a file of /proc that is not there is passed over", () => {
    const meminfo = new Meminfo(proc);
    for (const make of [load, memory, paging, diskIo, network, cpu]) collect(make({ proc, sink, meminfo }));
    expect(sink.values.size).toBe(0);
  });

  test("path: bytes on disk, without following links, and bounded", async () => {
    mkdirSync(join(proc, "d"));
    for (let file = 0; file < 10; file++) writeFileSync(join(proc, "d", String(file)), Buffer.alloc(10_000, 1));
    symlinkSync("/usr", join(proc, "d", "link"));
    const usage = await pathUsage(join(proc, "d"));
    expect(usage?.isComplete).toBe(true);
    expect(usage?.bytes).toBeGreaterThanOrEqual(100_000);
    expect(usage?.bytes).toBeLessThan(200_000);
    expect(await pathUsage(join(proc, "d"), 5)).toMatchObject({ isComplete: false });
    expect(await pathUsage(join(proc, "none"))).toBeNull();
  });

  test("all of them on this machine cost less than half a percent of a core at one second", () => {
    const machine = { proc: "/proc", sink, meminfo: new Meminfo("/proc") };
    const all = [cpu, load, memory, paging, diskIo, network].map((make) => make(machine));
    all.push(processes({ proc: "/proc", sink, cpuCount: 2, watch: [{ name: "me", match: "vitest" }] }));
    let nowUnixMs = 0;
    const tick = () => {
      nowUnixMs += 1000;
      for (const collector of all) collector.collect(nowUnixMs);
    };
    for (let warm = 0; warm < 200; warm++) tick();
    const before = process.cpuUsage();
    const ticks = 500;
    for (let measured = 0; measured < ticks; measured++) tick();
    const { user, system } = process.cpuUsage(before);
    for (const collector of all) collector.close?.();
    expect((user + system) / ticks / 1e6).toBeLessThan(0.005);
  });
});
