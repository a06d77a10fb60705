import { spawn } from "node:child_process";
import { join } from "node:path";
import { Broker } from "./broker.ts";

/** Runs the tests against a real Apache Kafka: the one that KAFKA_BROKERS names, or one that it starts and always stops. */
const vitest = (brokers: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [
        join(import.meta.dirname, "../../node_modules/vitest/vitest.mjs"),
        "run",
        "--config",
        join(import.meta.dirname, "vitest.config.ts"),
        ...process.argv.slice(2),
      ],
      { stdio: "inherit", env: { ...process.env, KAFKA_BROKERS: brokers } },
    );
    const pass = (signal: NodeJS.Signals) => child.kill(signal);
    process.on("SIGINT", pass).on("SIGTERM", pass);
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });

const withOwnBroker = async (): Promise<number> => {
  const broker = await Broker.create();
  try {
    await broker.start();
    console.log(`Apache Kafka listens on ${broker.address}`);
    return await vitest(broker.address);
  } finally {
    await broker.dispose();
  }
};

try {
  const given = process.env.KAFKA_BROKERS;
  process.exitCode = given === undefined || given === "" ? await withOwnBroker() : await vitest(given);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
