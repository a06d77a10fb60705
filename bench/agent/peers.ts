import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

/** A program that watches a host each second: what it is started with, in a folder of its own. */
export interface Watcher {
  readonly name: string;
  /** null when it is not installed here. */
  start(dir: string): Promise<Started | null>;
}

export interface Started {
  readonly pid: number;
  stop(): Promise<void>;
}

const STOP_MS = 5_000;
const SCRAPE_EVERY_MS = 1_000;

export const begin = (
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Started => {
  const variables = Object.entries({ HOME: "/tmp", ...env }).map(([name, value]) => `${name}=${value}`);
  // env(1) becomes the command: the pid stays.
  const child = spawn("env", [...variables, command, ...args], { stdio: "ignore" });
  if (child.pid === undefined) throw new Error(`${command} cannot be started`);
  return { pid: child.pid, stop: () => stop(child) };
};

const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await ended;
  clearTimeout(late);
};

/** CPU, load, memory, swap, file systems, disks, network, processes; no web server, no machine learning, no health checks: those the others have not. */
const NETDATA = (dir: string): string => `[global]
    run as user = root
[directories]
    cache = ${dir}/cache
    lib = ${dir}/lib
    log = ${dir}/log
[db]
    mode = ram
    retention = 600
    update every = 1
[ml]
    enabled = no
[health]
    enabled = no
[web]
    mode = none
[registry]
    enabled = no
[plugins]
    cgroups = no
    tc = no
    idlejitter = no
    timex = no
    profile = no
    statsd = no
    charts.d = no
    go.d = no
    python.d = no
    ebpf = no
    perf = no
    nfacct = no
    freeipmi = no
    cups = no
    ioping = no
    slabinfo = no
    debugfs = no
    systemd-journal = no
    network-viewer = no
    apps = yes
    proc = yes
    diskspace = yes
[statsd]
    enabled = no
`;

const COLLECTD = (dir: string): string => `BaseDir "${dir}"
PIDFile "${dir}/collectd.pid"
Interval 1
${["cpu", "load", "memory", "swap", "df", "disk", "interface", "processes", "vmem"].map((name) => `LoadPlugin ${name}`).join("\n")}
LoadPlugin csv
<Plugin csv>
  DataDir "${dir}/csv"
</Plugin>
<Plugin processes>
  Process "node"
</Plugin>
`;

/** One that is free: an exporter that finds it taken ends at once. */
const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
};
const EXPORTER_COLLECTORS = [
  "cpu",
  "loadavg",
  "meminfo",
  "vmstat",
  "filesystem",
  "diskstats",
  "netdev",
  "stat",
  "processes",
];

/** Scraped each second by us: the scraper is not counted. */
const scraped = (started: Started, url: string): Started => {
  const timer = setInterval(() => {
    fetch(url)
      .then((response) => response.arrayBuffer())
      .catch(() => undefined);
  }, SCRAPE_EVERY_MS);
  return {
    pid: started.pid,
    stop: () => {
      clearInterval(timer);
      return started.stop();
    },
  };
};

const installed = (paths: readonly string[]): string | null => paths.find((path) => existsSync(path)) ?? null;

const prepared = (dir: string, file: string, text: string): string => {
  for (const name of ["cache", "lib", "log", "csv"]) mkdirSync(join(dir, name), { recursive: true });
  writeFileSync(join(dir, file), text);
  return join(dir, file);
};

export const PEERS: readonly Watcher[] = [
  {
    name: "netdata",
    async start(dir) {
      const path = installed(["/usr/sbin/netdata", "/usr/bin/netdata"]);
      if (path === null) return null;
      return begin(path, ["-D", "-c", prepared(dir, "netdata.conf", NETDATA(dir))]);
    },
  },
  {
    name: "collectd",
    async start(dir) {
      const path = installed(["/usr/sbin/collectd"]);
      if (path === null) return null;
      return begin(path, ["-f", "-C", prepared(dir, "collectd.conf", COLLECTD(dir))]);
    },
  },
  {
    name: "node_exporter",
    async start() {
      const path = installed(["/usr/bin/prometheus-node-exporter", "/usr/bin/node_exporter"]);
      if (path === null) return null;
      const address = `127.0.0.1:${await freePort()}`;
      const wanted = EXPORTER_COLLECTORS.map((name) => `--collector.${name}`);
      const args = ["--collector.disable-defaults", ...wanted, `--web.listen-address=${address}`];
      return scraped(begin(path, args), `http://${address}/metrics`);
    },
  },
];
