import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "@homeostat/schemas";
import { type Link, LinkError } from "./link.ts";
import type { Spool, SpoolRecord } from "./spool/spool.ts";

const RECORDS_MAX = 64;
const BYTES_MAX = 1_048_576;
const BACK_OFF_MS_MIN = 200;
const BACK_OFF_MS_MAX = 15_000;

/** Takes batches from the spool to the platform: one round at a time, in order, again and again until it has arrived. */
export class Publisher {
  readonly #spool: Spool;
  readonly #link: Link;
  readonly #log: Log;
  readonly #random: () => number;
  #wake: () => void = () => undefined;
  #endBackOff: () => void = () => undefined;
  #isStopping = false;
  #isUnreachable = false;
  #loop: Promise<void> | null = null;
  #recordsMax = RECORDS_MAX;
  #failures = 0;
  problem: string | null = null;

  constructor(options: { spool: Spool; link: Link; log: Log; random: () => number }) {
    this.#spool = options.spool;
    this.#link = options.link;
    this.#log = options.log;
    this.#random = options.random;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** There may be something to publish. */
  wake(): void {
    this.#wake();
  }

  /** The platform is there again: what waits to be tried again is tried now, and nobody is told that it cannot be reached. */
  linkIsUp(): void {
    if (!this.#isUnreachable) return;
    this.#reached();
    this.#endBackOff();
  }

  /** Tries once more to empty the spool, for at most this long; what is left stays in the spool. */
  async stop(graceMs: number): Promise<void> {
    const deadline = delay(graceMs, undefined, { ref: false });
    while (this.#spool.hasPending && this.problem === null) {
      this.wake();
      const isOver = await Promise.race([deadline.then(() => true), delay(5, false)]);
      if (isOver) break;
    }
    this.#isStopping = true;
    this.#endBackOff();
    this.wake();
    await Promise.race([this.#loop, deadline]);
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      const records = await this.#next();
      if (records === null) await this.#backOff();
      else if (records.length === 0) await this.#waitForWork();
      else await this.#send(records);
    }
  }

  /** null when the disk cannot be read. */
  async #next(): Promise<readonly SpoolRecord[] | null> {
    try {
      await this.#spool.sync();
      return this.#spool.peek({ recordsMax: this.#recordsMax, bytesMax: BYTES_MAX });
    } catch (error) {
      this.#isUnreachable = false;
      this.problem = `the spool cannot be read: ${String(error)}`.slice(0, 500);
      this.#log.error({ error: String(error) }, "the spool cannot be read; trying again");
      return null;
    }
  }

  #waitForWork(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#isStopping) resolve();
      this.#wake = resolve;
    });
  }

  async #send(records: readonly SpoolRecord[]): Promise<void> {
    try {
      await this.#link.publish(records.map(({ topic, value }) => ({ topic, value })));
    } catch (error) {
      await this.#failed(records, error);
      return;
    }
    this.#spool.ack(records);
    this.#recordsMax = RECORDS_MAX;
    this.#reached();
  }

  #reached(): void {
    this.#isUnreachable = false;
    this.#failures = 0;
    this.problem = null;
  }

  async #failed(records: readonly SpoolRecord[], error: unknown): Promise<void> {
    const [first] = records;
    if (error instanceof LinkError && error.code === "refused" && first !== undefined) {
      if (records.length === 1) {
        this.#log.error(
          { sequence: first.sequence, rows: first.rows, error: error.message },
          "a batch is refused for good",
        );
        this.#spool.refuse(first, "refused");
        return;
      }
      // One of them is refused: find out which.
      this.#recordsMax = 1;
      return;
    }
    this.#isUnreachable = true;
    this.problem = `the platform cannot be reached: ${error instanceof Error ? error.message : String(error)}`.slice(
      0,
      500,
    );
    if (this.#failures === 0) this.#log.warn({ error: this.problem }, "publishing failed; trying again");
    await this.#backOff();
  }

  async #backOff(): Promise<void> {
    const ceiling = Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS_MIN * 2 ** this.#failures++);
    // Half fixed, half random: a fleet must not come back all at once.
    const waitMs = ceiling / 2 + (this.#random() * ceiling) / 2;
    const wait = new AbortController();
    this.#endBackOff = () => wait.abort();
    if (this.#isStopping) return;
    try {
      await delay(waitMs, undefined, { signal: wait.signal });
    } catch (aborted) {
      if (!wait.signal.aborted) throw aborted;
    }
  }
}
