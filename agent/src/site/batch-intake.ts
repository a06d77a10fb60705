import { BusError, decodeHeader, type Log, MESSAGE_BYTES_MAX, TOPIC_OF } from "@homeostat/schemas";
import { readBatches, type TopicBatch } from "../channel/batch-body.ts";

export interface IntakeAnswer {
  readonly status: "taken" | "busy" | "refused";
  readonly text: string;
}

export interface IntakeOptions {
  readonly publish: (host: string, batches: readonly TopicBatch[]) => Promise<void>;
  readonly inFlightBytesMax: number;
  readonly log: Log;
}

/** Checks what agents bring for the bus, and holds what is on its way there to a cap. */
export class BatchIntake {
  readonly #options: IntakeOptions;
  readonly #busyHosts = new Set<string>();
  /** Since it was told: of a fleet each agent's batches meet a bus that is down, again and again. */
  #isBusDown = false;
  inFlightBytes = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** One round of a host at a time: its batches keep their order. At the caps it is `busy`, and the agent keeps its batches. */
  async take(host: string, body: Buffer): Promise<IntakeAnswer> {
    const { inFlightBytesMax, publish, log } = this.#options;
    if (this.#busyHosts.has(host)) return { status: "busy", text: "the batches before are still on their way" };
    if (this.inFlightBytes + body.length > inFlightBytesMax)
      return { status: "busy", text: "too much is on its way to the bus" };
    const batches = readBatches(body);
    if (batches === null) return { status: "refused", text: "malformed frames" };
    for (const batch of batches) {
      const flaw = flawOf(batch, host);
      if (flaw !== null) return { status: "refused", text: flaw };
    }
    this.#busyHosts.add(host);
    this.inFlightBytes += body.length;
    try {
      if (batches.length > 0) await publish(host, batches);
      if (batches.length > 0) this.#isBusDown = false;
      return { status: "taken", text: "" };
    } catch (error) {
      const text = String(error).slice(0, 300);
      if (error instanceof BusError && error.code === "too_large") return { status: "refused", text };
      if (!this.#isBusDown) log.warn({ host, error: text }, "the bus does not take batches");
      this.#isBusDown = true;
      return { status: "busy", text };
    } finally {
      this.#busyHosts.delete(host);
      this.inFlightBytes -= body.length;
    }
  }
}

/** A batch that is broken, too large, or made in the name of another host. */
const flawOf = ({ value, topic }: TopicBatch, host: string): string | null => {
  if (value.length > MESSAGE_BYTES_MAX) return `a batch has more than ${MESSAGE_BYTES_MAX} bytes`;
  try {
    const { producer, schema } = decodeHeader(value);
    if (!producer.startsWith(`${host}/`)) return `the producer ${producer} is not of this host`;
    return TOPIC_OF[schema] === topic ? null : `${schema} does not belong into ${topic}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};
