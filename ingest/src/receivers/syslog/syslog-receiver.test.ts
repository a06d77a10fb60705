import { createSocket } from "node:dgram";
import { connect, type Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { startGateway, unreachable } from "../../gateway/gateway.fixture.ts";
import { SyslogConfig } from "./syslog-config.ts";
import { createSyslogReceiver } from "./syslog-receiver.ts";

const start = async (config: Record<string, unknown> = {}, gatewayConfig: Parameters<typeof startGateway>[0] = {}) => {
  const run = startGateway(gatewayConfig);
  const quiet = () => undefined;
  const receiver = createSyslogReceiver({
    gateway: run.gateway,
    config: SyslogConfig.parse({ enabled: true, tcp: { port: 0 }, udp: { port: 0 }, ...config }),
    now: () => run.clock.nowUnixMs,
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  });
  await receiver.start();
  onTestFinished(async () => {
    run.bus.fault = undefined;
    await receiver.stop();
    await run.gateway.stop();
  });
  const tcp = async (): Promise<Socket> => {
    const socket = connect(receiver.ports.tcp ?? 0, "127.0.0.1");
    socket.on("error", () => undefined);
    await new Promise((resolve) => socket.once("connect", resolve));
    return socket;
  };
  const udp = async (messages: readonly string[]): Promise<void> => {
    const socket = createSocket("udp4");
    const port = receiver.ports.udp ?? 0;
    for (const message of messages)
      await new Promise((resolve) => socket.send(message, port, "127.0.0.1", () => resolve(null)));
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  };
  let isOver = false;
  onTestFinished(() => {
    isOver = true;
  });
  const until = async (check: () => boolean): Promise<void> => {
    while (!check() && !isOver) await new Promise((resolve) => setImmediate(resolve));
  };
  return { ...run, receiver, tcp, udp, until };
};

const rejected = ({ gateway }: Awaited<ReturnType<typeof start>>) =>
  Object.fromEntries(gateway.status().receivers.map(({ sender, rejected }) => [sender, rejected]));

describe("syslog over TCP", () => {
  it("comes with its host, and with the peer's address where it names none", async () => {
    const run = await start();
    const socket = await run.tcp();
    socket.end("<13>Nov 21 08:59:59 web-1 app: one\n<13>not parsed");
    await run.until(() => run.bus.bodies.length === 2);
    expect(run.bus.bodies.toSorted()).toEqual(["<13>not parsed", "one"]);
    const hosts = run.bus.batches.flatMap((batch) =>
      batch.schema === "logs"
        ? Array.from({ length: batch.rowCount }, (_, row) => batch.column("host_name").at(row))
        : [],
    );
    expect(hosts.toSorted()).toEqual(["127.0.0.1", "web-1"]);
  });

  it("that was read is committed when the receiver stops", async () => {
    const run = await start({}, { linger_ms: 50 });
    const socket = await run.tcp();
    const lines = Array.from({ length: 500 }, (_, at) => `<13>Nov 21 08:59:59 web-1 app: line ${at}`);
    await new Promise((resolve) => socket.write(`${lines.join("\n")}\n`, resolve));
    await run.until(() => run.gateway.status().receivers.some(({ accepted }) => accepted === 500));
    await run.receiver.stop();
    expect(run.bus.bodies).toHaveLength(500);
  });

  it("waits while the bus is down, holds no more than its cap, and loses nothing", async () => {
    const run = await start({}, { in_flight_bytes_max: 1_048_576, lanes: 1 });
    run.bus.fault = unreachable;
    const socket = await run.tcp();
    const count = 8000;
    const line = (at: number) =>
      `<13>Nov 21 08:59:59 web-1 app: ${at} ${Math.sin(at)}${Math.cos(at)}${"y".repeat(400)}\n`;
    socket.end(Array.from({ length: count }, (_, at) => line(at)).join(""));
    await run.until(() => run.bus.attempts > 20);
    expect(run.gateway.status().heldBytes).toBeLessThan(3 * 1_048_576);
    run.bus.fault = undefined;
    await run.until(() => run.bus.bodies.length >= count);
    expect(run.bus.bodies.map((body) => Number.parseInt(body, 10))).toEqual(
      Array.from({ length: count }, (_, at) => at),
    );
  });

  it("from another network is refused and counted", async () => {
    const run = await start({ networks: [{ name: "lab", cidr: "10.0.0.0/8" }] });
    const socket = await run.tcp();
    await new Promise((resolve) => socket.once("close", resolve));
    await run.udp(["<13>hello"]);
    await run.until(() => (rejected(run)[""]?.network_refused ?? 0) === 2);
    expect(run.bus.bodies).toEqual([]);
  });

  it("that says nothing is closed", async () => {
    const run = await start({ tcp: { port: 0, idle_timeout_ms: 1_000 } });
    const socket = await run.tcp();
    socket.write("<13>half a line");
    await new Promise((resolve) => socket.resume().once("close", resolve));
    await run.until(() => run.bus.bodies.length === 1);
    expect(run.bus.bodies).toEqual(["<13>half a line"]);
  });
});

describe("syslog over UDP", () => {
  it("comes one message a datagram", async () => {
    const run = await start();
    await run.udp(["<13>Nov 21 08:59:59 web-1 app: one\n", "<13>1 - web-2 app - - - two"]);
    await run.until(() => run.bus.bodies.length === 2);
    expect(run.bus.bodies.toSorted()).toEqual(["one", "two"]);
  });

  it("that is more than the queue holds while there is no room is dropped, and counted afterwards", async () => {
    const run = await start({ udp: { port: 0, queue_max: 3 } });
    const { room } = run.gateway;
    room.hold(room.bytesMax + 1);
    await run.udp(Array.from({ length: 10 }, (_, at) => `<13>${at}`));
    room.release(room.bytesMax + 1);
    const count = () => run.gateway.status().receivers.find(({ sender }) => sender === "local");
    const dropped = () => count()?.rejected.udp_overflow ?? 0;
    await run.until(() => (count()?.accepted ?? 0) + dropped() === 10);
    expect(dropped()).toBeGreaterThan(0);
  });
});
