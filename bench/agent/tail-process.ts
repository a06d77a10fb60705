import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AgentConfig, COLLECTOR_NAMES, createAgent, LinkError } from "@homeostat/agent";

/* Writes a log file as services do, and reads it as the agent does. */

const LEVELS = ["INFO", "WARN", "ERROR", "DEBUG"] as const;
const LINES_PER_WRITE = 10_000;
const LOOK_MS = 20;
const START_UNIX_MS = 1_780_000_000_000;

const lineOf = (index: number): string =>
  `${new Date(START_UNIX_MS + index * 7).toISOString()} ${LEVELS[index % 4]} [worker-${index % 16}] request ${index} from ` +
  `10.0.${index % 256}.${(index * 7) % 256} GET /api/v1/items/${index % 1000} status=${200 + (index % 5)} took ${index % 300} ms\n`;

const [dir = "", count = "0"] = process.argv.slice(2);
mkdirSync(dir, { recursive: true });
const path = join(dir, "service.log");
for (let from = 0; from < Number(count); from += LINES_PER_WRITE) {
  const lines = Array.from({ length: Math.min(LINES_PER_WRITE, Number(count) - from) }, (_, at) => lineOf(from + at));
  writeFileSync(path, lines.join(""), { flag: "a" });
}
const quiet = () => undefined;
const refuse = () => Promise.reject(new LinkError("unreachable", "what is spooled stays in the spool here"));
const agent = createAgent({
  config: AgentConfig.parse({
    host: "bench",
    heartbeat_ms: 60_000,
    collectors: Object.fromEntries(COLLECTOR_NAMES.map((name) => [name, false])),
    logs: [{ path, service: "bench" }],
  }),
  dir: join(dir, "agent"),
  link: {
    publish: refuse,
    onOrder: async () => ({ stop: async () => undefined }),
    publishResult: refuse,
    publishProgress: quiet,
    publishHeartbeat: async () => undefined,
  },
  trustedKeys: [],
  now: Date.now,
  monotonicMs: () => performance.now(),
  log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
});
const rows = () => agent.status().topics["telemetry.logs"]?.produced ?? 0;
const before = process.cpuUsage();
await agent.start();
while (rows() < Number(count)) await delay(LOOK_MS);
const { user, system } = process.cpuUsage(before);
process.stdout.write(`${JSON.stringify({ rows: rows(), cpu_s: (user + system) / 1e6 })}\n`);
process.exit(0);
