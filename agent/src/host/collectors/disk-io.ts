import type { Series, Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import { ProcFile } from "./proc-file.ts";

/** Sectors in /proc/diskstats are 512 bytes, whatever the device's are (https://docs.kernel.org/admin-guide/iostats.html). */
const SECTOR_BYTES = 512;
const VIRTUAL = /^(?:loop|ram|zram|dm-|md|sr|fd)\d/;
/** Their bytes are counted at the whole disk already. */
const PARTITION = /^(?:(?:sd|vd|xvd|hd)[a-z]+\d+|(?:nvme\d+n\d+|mmcblk\d+)p\d+)$/;

interface Disk {
  readonly bytes: readonly [Series, Series];
  readonly operations: readonly [Series, Series];
  readonly ioTime: Series;
}

export const diskIo = (options: { proc: string; sink: Sink }): Collector => {
  const file = new ProcFile(`${options.proc}/diskstats`);
  const disks = new Map<string, Disk | null>();
  const diskOf = (device: string): Disk | null => {
    if (VIRTUAL.test(device) || PARTITION.test(device)) return null;
    const pair = (name: string, unit: string): [Series, Series] => [
      options.sink.counter(name, unit, { device, direction: "read" }),
      options.sink.counter(name, unit, { device, direction: "write" }),
    ];
    return {
      bytes: pair("system.disk.io", "By"),
      operations: pair("system.disk.operations", "{operation}"),
      ioTime: options.sink.counter("system.disk.io_time", "s", { device }),
    };
  };
  return {
    name: "disk_io",
    everyMs: 0,
    collect() {
      if (!file.read()) return;
      for (; file.hasMore; file.nextLine()) {
        file.skipWords(2);
        const device = file.word();
        let disk = disks.get(device);
        if (disk === undefined) {
          disk = diskOf(device);
          disks.set(device, disk);
        }
        if (disk === null) continue;
        disk.operations[0].record(file.number());
        file.skipWords(1);
        disk.bytes[0].record(file.number() * SECTOR_BYTES);
        file.skipWords(1);
        disk.operations[1].record(file.number());
        file.skipWords(1);
        disk.bytes[1].record(file.number() * SECTOR_BYTES);
        file.skipWords(2);
        disk.ioTime.record(file.number() / 1000);
      }
    },
    close: () => file.close(),
  };
};
