import { normal, random } from "../random.ts";

/*
 * The samples that every store gets: what an exporter of a host and of a service beside it tell, scraped every 15 s with a few
 * milliseconds of jitter. All series of one scrape have the same time, as they have it in life.
 */

export interface SeriesOfSet {
  readonly name: string;
  readonly kind: "gauge" | "counter";
  readonly unit: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Which scrape tells it. */
  readonly host: number;
  readonly values: Float64Array;
}

export interface DataSet {
  readonly series: readonly SeriesOfSet[];
  /** By host: Unix milliseconds of its scrapes. */
  readonly times: readonly Float64Array[];
  readonly samples: number;
}

export interface DataSetSize {
  readonly hosts: number;
  readonly hours: number;
  readonly startUnixMs: number;
}

const SCRAPE_MS = 15_000;
const JITTER_MS = 3;
const PAGE_BYTES = 4096;

type Next = () => number;
/** The value of the i-th scrape; called in order. */
type Shape = (next: Next) => (i: number) => number;

const rounded = (value: number, decimals: number): number => Number(value.toFixed(decimals));

/** A day's swell, so that rates are not the same all the time. */
const swell = (i: number, phase: number): number => 1 + 0.5 * Math.sin((i * SCRAPE_MS) / 3_600_000 + phase);

/** Grows by about `rate` a scrape in whole steps of `step`; `idle` is the share of scrapes in which nothing happens. */
const counter =
  (rate: number, { step = 1, idle = 0 } = {}): Shape =>
  (next) => {
    let total = Math.floor(next() * rate * 100_000) * step;
    const phase = next() * 6;
    return (i) => {
      if (next() >= idle)
        total += step * Math.max(0, Math.round((rate * swell(i, phase) * (1 + 0.3 * normal(next))) / step));
      return total;
    };
  };

/** Seconds of a processor, told with two decimals. */
const seconds =
  (share: number): Shape =>
  (next) => {
    let total = next() * 1e6 * share;
    const phase = next() * 6;
    return (i) => {
      total += Math.max(0, (SCRAPE_MS / 1000) * share * swell(i, phase) * (1 + 0.1 * normal(next)));
      return rounded(total, 2);
    };
  };

/** Wanders around `level` and is told with so many decimals. */
const gauge =
  (level: number, decimals: number): Shape =>
  (next) => {
    let deviation = 0;
    return () => {
      deviation = 0.95 * deviation + 0.05 * normal(next);
      return rounded(Math.abs(level * (1 + deviation)), decimals);
    };
  };

/** Bytes in whole pages. */
const pages =
  (level: number, step: number): Shape =>
  (next) => {
    let count = Math.floor((level * (0.5 + next())) / PAGE_BYTES);
    return () => {
      count = Math.max(0, count + Math.round(normal(next) * step));
      return count * PAGE_BYTES;
    };
  };

/** A mean of measured times: every bit of the number counts. */
const latency =
  (level: number): Shape =>
  (next) =>
  () =>
    level * Math.exp(0.4 * normal(next));

/** The sum of measured times. */
const latencySum =
  (perScrape: number): Shape =>
  (next) => {
    let total = next() * perScrape * 1000;
    return () => {
      total += perScrape * Math.exp(0.2 * normal(next));
      return total;
    };
  };

const constant =
  (value: number): Shape =>
  () =>
  () =>
    value;

/** Whole numbers that change now and then. */
const seldom =
  (level: number): Shape =>
  (next) => {
    let value = Math.round(level * (0.5 + next()));
    return () => {
      if (next() < 0.1) value = Math.max(0, value + Math.round(normal(next) * 3));
      return value;
    };
  };

type Told = readonly [
  name: string,
  kind: SeriesOfSet["kind"],
  unit: string,
  labels: Readonly<Record<string, string>>,
  shape: Shape,
];

const MODES = { user: 0.2, system: 0.06, idle: 0.7, iowait: 0.01, softirq: 0.005 } as const;
const BUCKETS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] as const;

const cpu = (): Told[] =>
  ["0", "1", "2", "3"].flatMap((core) =>
    Object.entries(MODES).map(
      ([mode, share]): Told => ["node_cpu_seconds_total", "counter", "s", { cpu: core, mode }, seconds(share)],
    ),
  );

const network = (): Told[] =>
  ["eth0", "lo"].flatMap((device): Told[] => [
    ["node_network_receive_bytes_total", "counter", "By", { device }, counter(4e6)],
    ["node_network_transmit_bytes_total", "counter", "By", { device }, counter(2e6)],
    ["node_network_receive_packets_total", "counter", "1", { device }, counter(6000)],
    ["node_network_transmit_packets_total", "counter", "1", { device }, counter(4000)],
  ]);

const disks = (): Told[] =>
  ["sda", "sdb"].flatMap((device): Told[] => [
    [
      "node_disk_read_bytes_total",
      "counter",
      "By",
      { device },
      counter(40 * PAGE_BYTES, { step: PAGE_BYTES, idle: 0.5 }),
    ],
    ["node_disk_written_bytes_total", "counter", "By", { device }, counter(300 * PAGE_BYTES, { step: PAGE_BYTES })],
    ["node_disk_reads_completed_total", "counter", "1", { device }, counter(12, { idle: 0.5 })],
    ["node_disk_writes_completed_total", "counter", "1", { device }, counter(90)],
  ]);

const memory = (): Told[] => [
  ["node_memory_MemTotal_bytes", "gauge", "By", {}, constant(16_618_692_608)],
  ...["MemFree", "MemAvailable", "Cached", "Active", "Dirty"].map(
    (what): Told => [`node_memory_${what}_bytes`, "gauge", "By", {}, pages(2e9, 900)],
  ),
  ...["/", "/var"].flatMap((mountpoint): Told[] => [
    ["node_filesystem_size_bytes", "gauge", "By", { mountpoint, fstype: "ext4" }, constant(105_089_261_568)],
    ["node_filesystem_avail_bytes", "gauge", "By", { mountpoint, fstype: "ext4" }, pages(4e10, 60)],
  ]),
];

const gauges = (): Told[] => [
  ...["node_load1", "node_load5", "node_load15"].map((name): Told => [name, "gauge", "1", {}, gauge(1.4, 2)]),
  ...["temp1", "temp2"].map(
    (sensor): Told => [
      "node_hwmon_temp_celsius",
      "gauge",
      "Cel",
      { chip: "platform_coretemp_0", sensor },
      gauge(52, 1),
    ],
  ),
  ...["0", "1", "2", "3"].map((core): Told => ["system_cpu_utilization", "gauge", "1", { cpu: core }, gauge(0.3, 4)]),
  ["node_memory_pressure_ratio", "gauge", "1", {}, gauge(0.04, 3)],
];

const service = (): Told[] => [
  ["up", "gauge", "1", {}, constant(1)],
  ["shop_build_info", "gauge", "1", { version: "3.14.1", revision: "9f0c2d1" }, constant(1)],
  ["process_start_time_seconds", "gauge", "s", {}, constant(1_722_470_400.37)],
  ["process_max_fds", "gauge", "1", {}, constant(1_048_576)],
  ["process_open_fds", "gauge", "1", {}, seldom(90)],
  ["process_threads", "gauge", "1", {}, seldom(30)],
  ...["/api/orders", "/api/users"].flatMap((route): Told[] => [
    ["http_request_duration_mean_seconds", "gauge", "s", { route }, latency(0.012)],
    ["http_request_duration_seconds_sum", "counter", "s", { route }, latencySum(3)],
    ["http_request_duration_seconds_count", "counter", "1", { route }, counter(250)],
    ...BUCKETS.map(
      (le, at): Told => ["http_request_duration_seconds_bucket", "counter", "1", { route, le }, counter(20 * (at + 1))],
    ),
    ...["200", "404", "500"].map(
      (code, at): Told => [
        "http_requests_total",
        "counter",
        "1",
        { route, code },
        counter(240 / 20 ** at, { idle: at / 3 }),
      ],
    ),
  ]),
];

const scrapeTimes = (next: Next, { startUnixMs, hours }: DataSetSize): Float64Array => {
  const phase = Math.floor(next() * SCRAPE_MS);
  return Float64Array.from(
    { length: (hours * 3_600_000) / SCRAPE_MS },
    (_, i) => startUnixMs + phase + i * SCRAPE_MS + Math.round(Math.abs(normal(next)) * JITTER_MS),
  );
};

/** The same for the same size. */
export const dataSet = (size: DataSetSize): DataSet => {
  const next = random(20_260_801);
  const times = Array.from({ length: size.hosts }, () => scrapeTimes(next, size));
  const series = times.flatMap(({ length }, host) =>
    [...cpu(), ...network(), ...disks(), ...memory(), ...gauges(), ...service()].map(
      ([name, kind, unit, labels, shape]): SeriesOfSet => {
        const value = shape(next);
        return {
          name,
          kind,
          unit,
          labels: { "host.name": `web-${String(host).padStart(3, "0")}`, "service.name": "shop", ...labels },
          host,
          values: Float64Array.from({ length }, (_, i) => value(i)),
        };
      },
    ),
  );
  return { series, times, samples: series.reduce((sum, { values }) => sum + values.length, 0) };
};
