import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createKafkaBus } from "@homeostat/app";
import { type Bus, topics } from "@homeostat/schemas";
import { cpuSeconds, findBinary, freePort } from "../peers/peer-process.ts";
import { benchLog } from "./engine.ts";

const TOPIC = "bench.rsyslog";
const RETENTION = { kind: "delete", ms: 3_600_000, bytesPerPartition: 536_870_912 } as const;
const CHUNK_LINES = 2000;
const POLL_MS = 100;
const DRAIN_MS_MAX = 120_000;

/** What is in the topic: nobody commits there, so its lag is its length. */
const linesIn = async (bus: Bus): Promise<number> =>
  (await bus.lag("bench", TOPIC)).reduce((sum, partition) => sum + partition, 0);

const configuration = (dir: string, port: number, broker: string): string => `
global(workDirectory="${dir}")
module(load="imtcp")
module(load="omkafka")
template(name="line" type="string" string="%rawmsg%")
ruleset(name="out" queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="1024") {
  action(type="omkafka" broker=["${broker}"] topic="${TOPIC}" template="line"
    confParam=["linger.ms=20", "batch.num.messages=10000", "queue.buffering.max.messages=500000"])
}
input(type="imtcp" port="${port}" address="127.0.0.1" ruleset="out")
`;

const sendLines = async (port: number, lines: number): Promise<void> => {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  for (let from = 0; from < lines; from += CHUNK_LINES) {
    let chunk = "";
    for (let line = from; line < Math.min(lines, from + CHUNK_LINES); line++)
      chunk += `<14>1 2026-01-01T00:00:00.000Z web-${line % 20} service-${line % 12} - - - GET /api/orders/${line.toString(36)} 200 in ${(line % 900) / 10} ms for user ${line % 99_991} from 10.${line % 7}.${line % 255}.9, request ${line}\n`;
    if (!socket.write(chunk)) await once(socket, "drain");
  }
  socket.end();
  await once(socket, "close");
};

const listens = async (port: number): Promise<void> => {
  for (let attempt = 0; attempt < 100; attempt++) {
    const socket = connect(port, "127.0.0.1");
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await delay(POLL_MS);
  }
  throw new Error("rsyslogd does not listen");
};

/**
 * Lines that rsyslogd takes over TCP and gives to Kafka for each second of its own processor time, the broker's not counted. It parses and
 * forwards: nothing is stored, deduplicated or indexed. null where it is not installed.
 */
export const rsyslogRate = async (dir: string, broker: string, lines: number): Promise<number | null> => {
  const binary = findBinary("rsyslogd");
  if (binary === null) return null;
  const bus = await createKafkaBus({
    brokers: [broker],
    clientId: "bench-rsyslog",
    topics: topics()
      .slice(0, 1)
      .map((topic) => ({ ...topic, name: TOPIC, partitions: 2, retention: RETENTION })),
    log: benchLog,
  });
  const port = await freePort();
  const file = join(dir, "rsyslog.conf");
  writeFileSync(file, configuration(dir, port, broker));
  const child = spawn(binary, ["-n", "-f", file, "-i", join(dir, "rsyslog.pid")], { stdio: "ignore" });
  const ended = once(child, "exit");
  try {
    await listens(port);
    const before = cpuSeconds(child.pid ?? 0);
    const wanted = (await linesIn(bus)) + lines;
    await sendLines(port, lines);
    for (const end = performance.now() + DRAIN_MS_MAX; (await linesIn(bus)) < wanted; await delay(POLL_MS))
      if (performance.now() > end) throw new Error(`only ${await linesIn(bus)} of ${wanted} lines came to Kafka`);
    return lines / (cpuSeconds(child.pid ?? 0) - before);
  } finally {
    child.kill("SIGTERM");
    await ended;
    await bus.stop();
  }
};
