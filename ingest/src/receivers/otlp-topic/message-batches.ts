import {
  BatchBuilder,
  BatchError,
  type OutgoingMessage,
  SCHEMAS_OF_TOPIC,
  type TelemetryRow,
  type TelemetrySchema,
  type TelemetryTopic,
} from "@homeostat/schemas";
import type { LaneBatches } from "./lane-accounts.ts";

/** How many batches of one producer one message may become; the next message's sequences begin behind them. */
export const BATCHES_PER_MESSAGE_MAX = 1024;

/** `telling`: series and resources, and what else depends on what is remembered; `data`: what follows from the message alone. */
export type Part = "telling" | "data";

interface Gathering {
  readonly builders: Map<TelemetrySchema, BatchBuilder<TelemetrySchema>>;
  readonly producer: string;
  readonly key: string;
  readonly part: Part;
  readonly messages: OutgoingMessage[];
  rows: number;
  index: number;
}

/**
 * The batches of one message after another. Their producers and sequences follow from the message's place alone, so that a message that is
 * read twice becomes the same batches, and ingest drops what it has seen (docs/adr/0006). Tellings have producers of their own: what they
 * hold depends on memory. After a restart a message tells at least what it told the first time, in the same order, so a telling that
 * was not published stands in a batch with the same sequence or a later one, and is not taken for seen.
 */
export class MessageBatches {
  readonly #topic: TelemetryTopic;
  /** Of its producers' names. */
  readonly prefix: string;
  readonly #gatherings = new Map<string, Gathering>();
  #offset = 0;

  /** `source`: the topic's name and the partition. */
  constructor(options: { readonly topic: TelemetryTopic; readonly source: { topic: string; partition: number } }) {
    this.#topic = options.topic;
    this.prefix = `topic:${options.source.topic}/${options.source.partition}`;
  }

  begin(offset: number): void {
    this.#offset = offset;
    for (const gathering of this.#gatherings.values()) {
      gathering.index = 0;
      gathering.rows = 0;
      gathering.messages.length = 0;
      for (const builder of gathering.builders.values()) builder.reset();
    }
  }

  /** @throws BatchError for a value that the column does not take; nothing is appended then. */
  append<S extends TelemetrySchema>(part: Part, lane: number, schema: S, row: TelemetryRow<S>): void {
    const gathering = this.#gathering(part, lane);
    const builder = builderOf(gathering, schema);
    try {
      builder.append(row);
    } catch (error) {
      if (!(error instanceof BatchError) || error.code !== "full") throw error;
      this.#seal(gathering, builder);
      builder.append(row);
    }
    if (builder.isFull) this.#seal(gathering, builder);
  }

  /** Tellings first. @throws TooManyBatches */
  finish(): OutgoingMessage[] {
    const gatherings = [...this.#gatherings].sort(([one], [other]) => (one < other ? 1 : -1));
    for (const [, gathering] of gatherings) {
      for (const schema of SCHEMAS_OF_TOPIC[this.#topic]) {
        const builder = gathering.builders.get(schema);
        if (builder !== undefined) this.#seal(gathering, builder);
      }
    }
    return gatherings.flatMap(([, { messages }]) => messages);
  }

  /** Of the message that has been finished: the data that it became, by producer. Tellings are our own words, and no part of the account. */
  data(): readonly LaneBatches[] {
    return [...this.#gatherings.values()]
      .filter(({ part, index }) => part === "data" && index > 0)
      .map(({ producer, rows, index }) => ({
        producer,
        rows,
        sequence: this.#sequence(index - 1),
        first: this.#sequence(0),
      }));
  }

  #sequence(index: number): number {
    return this.#offset * BATCHES_PER_MESSAGE_MAX + index;
  }

  #gathering(part: Part, lane: number): Gathering {
    const name = `${part} ${lane}`;
    const known = this.#gatherings.get(name);
    if (known !== undefined) return known;
    const gathering: Gathering = {
      builders: new Map(),
      producer: `${this.prefix}-${lane}${part === "telling" ? "-series" : ""}`,
      key: `lane-${lane}`,
      part,
      messages: [],
      rows: 0,
      index: 0,
    };
    this.#gatherings.set(name, gathering);
    return gathering;
  }

  #seal(gathering: Gathering, builder: BatchBuilder<TelemetrySchema>): void {
    if (builder.rowCount === 0) return;
    if (gathering.index >= BATCHES_PER_MESSAGE_MAX) throw new TooManyBatches();
    const { producer, key, messages } = gathering;
    try {
      const rows = builder.rowCount;
      const sequence = this.#sequence(gathering.index);
      messages.push({ topic: this.#topic, key, value: builder.finish({ producer, sequence }) });
      gathering.index++;
      gathering.rows += rows;
    } catch (error) {
      // A single row always fits: RECORD_BYTES_MAX is below a message's size.
      if (!(error instanceof BatchError) || error.code !== "too_large" || builder.rowCount < 2) throw error;
      const newer = builder.split();
      this.#seal(gathering, builder);
      this.#seal(gathering, newer);
    }
  }
}

/** What one message would become has no room among its sequences. */
export class TooManyBatches extends Error {
  override readonly name = "TooManyBatches";
  constructor() {
    super(`the message would become more than ${BATCHES_PER_MESSAGE_MAX} batches`);
  }
}

const builderOf = <S extends TelemetrySchema>(gathering: Gathering, schema: S): BatchBuilder<S> => {
  const known = gathering.builders.get(schema);
  if (known !== undefined) return known as unknown as BatchBuilder<S>;
  const builder = new BatchBuilder(schema);
  gathering.builders.set(schema, builder as unknown as BatchBuilder<TelemetrySchema>);
  return builder;
};
