import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { freePort } from "../fixtures/free-port.ts";

const here = import.meta.dirname;
const LIBRARIES = join(here, "target", "lib");
const STAMP = join(here, "target", "pom.sha256");
const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 30_000;
const OUTPUT_LINES_MAX = 200;

const run = promisify(execFile);

/** kafka-run-class would read it as the width of its help text (KAFKA-15413). */
const environment = (): NodeJS.ProcessEnv => {
  const { COLUMNS: _, ...rest } = process.env;
  return rest;
};

const need = async (command: string, args: readonly string[], what: string): Promise<void> => {
  try {
    await run(command, args);
  } catch (cause) {
    throw new Error(`${what} is needed to run Apache Kafka for these tests; \`${command}\` did not answer`, { cause });
  }
};

/** Fetches the broker's jars once per pom.xml, into a folder that git ignores. Returns the class path. */
const classPath = async (): Promise<string> => {
  const pom = await readFile(join(here, "pom.xml"));
  const wanted = createHash("sha256").update(pom).digest("hex");
  const present = await readFile(STAMP, "utf8").catch(() => null);
  if (present !== wanted) {
    await need("mvn", ["-v"], "Maven 3");
    await rm(LIBRARIES, { recursive: true, force: true });
    await run("mvn", ["-B", "-q", "-ntp", "-f", join(here, "pom.xml"), "dependency:copy-dependencies"], {
      env: environment(),
      maxBuffer: 16_777_216,
    });
    await writeFile(STAMP, wanted);
  }
  return join(LIBRARIES, "*");
};

const properties = (options: { port: number; controllerPort: number; advertisedPort: number; dir: string }): string =>
  Object.entries({
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.quorum.voters": `1@127.0.0.1:${options.controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${options.port},CONTROLLER://127.0.0.1:${options.controllerPort}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${options.advertisedPort}`,
    "controller.listener.names": "CONTROLLER",
    "log.dirs": join(options.dir, "data"),
    "auto.create.topics.enable": false,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 2,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1_000,
    "log.cleaner.dedupe.buffer.size": 4_194_304,
    "num.network.threads": 2,
    "num.io.threads": 2,
  })
    .map(([key, value]) => `${key}=${value}`)
    .join("\n");

/** One Apache Kafka node on ports and a directory of its own. It can be stopped and started again on the same data. */
export class Broker {
  readonly address: string;
  readonly #dir: string;
  readonly #classPath: string;
  #process: ChildProcess | null = null;

  private constructor(options: { address: string; dir: string; classPath: string }) {
    this.address = options.address;
    this.#dir = options.dir;
    this.#classPath = options.classPath;
  }

  /** `advertisedPort`: where clients are told to find it, when something stands in between. */
  static async create(advertisedPort?: number): Promise<Broker> {
    await need("java", ["-version"], "Java 17 or newer");
    const jars = await classPath();
    const dir = await mkdtemp(join(tmpdir(), "homeostat-kafka-"));
    const [port, controllerPort] = [await freePort(), await freePort()];
    const file = join(dir, "server.properties");
    await writeFile(file, properties({ port, controllerPort, advertisedPort: advertisedPort ?? port, dir }));
    const cluster = randomBytes(16).toString("base64url");
    await run("java", ["-cp", jars, "kafka.tools.StorageTool", "format", `--cluster-id=${cluster}`, "-c", file], {
      env: environment(),
    });
    return new Broker({ address: `127.0.0.1:${port}`, dir, classPath: jars });
  }

  /** Of the process that runs now. */
  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error("the broker does not run");
    return pid;
  }

  /** Resolves when it takes requests. */
  async start(): Promise<void> {
    const child = spawn(
      "java",
      [
        "-Xms128m",
        "-Xmx384m",
        `-Dlog4j2.configurationFile=${join(here, "log4j2.properties")}`,
        "-cp",
        this.#classPath,
        "kafka.Kafka",
        join(this.#dir, "server.properties"),
      ],
      { env: environment(), stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#process = child;
    const output: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(timer);
        reject(new Error(`Apache Kafka ${why}:\n${output.join("\n")}`));
      };
      const timer = setTimeout(() => fail(`was not ready after ${READY_MS_MAX} ms`), READY_MS_MAX);
      child.once("error", (error) => fail(error.message));
      child.once("exit", (code, signal) => fail(`ended with ${code ?? signal}`));
      for (const stream of [child.stdout, child.stderr])
        createInterface({ input: stream }).on("line", (line) => {
          if (output.length < OUTPUT_LINES_MAX) output.push(line);
          if (!line.includes("Kafka Server started")) return;
          clearTimeout(timer);
          resolve();
        });
    });
  }

  /** An orderly end, or SIGKILL when that takes too long. */
  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    await exited;
    clearTimeout(timer);
  }

  /** Ends at once, as a machine does that loses its power. */
  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.stop();
  }

  async dispose(): Promise<void> {
    await this.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}
