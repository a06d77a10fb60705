import {
  type AssignedPartition,
  type Bus,
  type BusMessage,
  InsertError,
  type Log,
  MESSAGE_BYTES_MAX,
  type PartitionHandler,
  SCHEMAS_OF_TOPIC,
  type TelemetrySchema,
  type TelemetryTopic,
} from "@homeostat/schemas";
import type { IngestCounts } from "../ingest-counts.ts";
import type { InsertPort } from "../insert-port.ts";
import type { Retry } from "../retry.ts";
import { deadLetter } from "./dead-letter.ts";
import { type Intent, readIntent, writeIntent } from "./intent.ts";
import { type LedgerRow, ledgerRows } from "./ledger-rows.ts";
import { type ProducerAccount, ProducerSequences } from "./producer-sequences.ts";
import { RANGE_MESSAGES_MAX, type Range, rangeLength, rangeName } from "./range.ts";
import {
  type Accepted,
  type Dead,
  type Decision,
  type ReadMessage,
  readMessage,
  type TriageLimits,
  triage,
} from "./triage.ts";
import type { TelemetryTroubles } from "./troubles.ts";

export interface TelemetryPorts {
  readonly troubles: TelemetryTroubles;
  readonly bus: Bus;
  readonly insert: InsertPort;
  readonly retry: Retry;
  readonly counts: IngestCounts;
  readonly log: Log;
  readonly now: () => number;
  readonly limits: TriageLimits;
}

/**
 * One partition of telemetry, from the bus into the store exactly once. For each range of messages, in this order and no other:
 * commit the intent; publish the dead letters; insert table by table, with tokens made of the range; insert the ledger's rows;
 * commit the range's end. A crash between any two of them is redone from the intent: what is in already is turned away by its
 * token or, once the ledger has it, by its sequence (docs/adr has the argument step by step).
 *
 * The end of one range and the intent of the next are one commit where more is waiting.
 */
export class TelemetryPartition implements PartitionHandler {
  readonly startOffset: number;
  readonly #partition: AssignedPartition;
  readonly #ports: TelemetryPorts;
  readonly #at: string;
  readonly #sequences: ProducerSequences;
  /** Read and not done: at most what one receive gives and one range. */
  readonly #waiting: ReadMessage[] = [];
  /** What the committed note says is under way, until it is done. */
  #intent: Intent | null;
  /** Everything below is done, and everything below `#committed` is known to be. */
  #done: number;
  #committed: number;

  private constructor(
    partition: AssignedPartition,
    ports: TelemetryPorts,
    begin: { offset: number; intent: Intent | null; known: ReadonlyMap<string, ProducerAccount> },
  ) {
    this.#partition = partition;
    this.#ports = ports;
    this.#at = placeOf(partition);
    this.startOffset = begin.offset;
    this.#done = begin.offset;
    this.#committed = begin.offset;
    this.#intent = begin.intent;
    this.#sequences = new ProducerSequences(begin.known);
  }

  static async open(partition: AssignedPartition, ports: TelemetryPorts): Promise<TelemetryPartition> {
    const { topic, signal } = partition;
    const known = await ports.retry({ what: "read the ledger", at: placeOf(partition), signal }, () =>
      ports.insert.lastSequences(topic, partition.partition),
    );
    const offset = Math.max(partition.committed?.offset ?? 0, partition.earliestOffset);
    countExpired(partition, ports);
    return new TelemetryPartition(partition, ports, { offset, intent: intentOf(partition, ports.log), known });
  }

  async receive(messages: readonly BusMessage[], endOffset: number): Promise<void> {
    this.#take(messages);
    for (let range = this.#nextRange(); range !== null; range = this.#nextRange()) await this.#move(range);
    // With more to come the next intent says the same at no extra cost; until then the redo would find everything in the ledger.
    if (this.#intent === null && this.#done > this.#committed && this.#done >= endOffset) {
      await this.#commit(this.#done, "");
    }
  }

  /** After a rejected receive the bus gives the same messages again; those that wait already are not taken twice. */
  #take(messages: readonly BusMessage[]): void {
    const from = (this.#waiting.at(-1)?.message.offset ?? this.#done - 1) + 1;
    // Offsets of these topics have no gaps but those that retention makes, when it is faster than we are.
    countExpired(this.#partition, this.#ports, (messages[0]?.offset ?? from) - from);
    for (const message of messages) if (message.offset >= from) this.#waiting.push(readMessage(message));
  }

  #nextRange(): Range | null {
    if (this.#intent !== null) return this.#rangeOf(this.#intent);
    const messages = this.#waiting.slice(0, rangeLength(this.#waiting));
    const [first, last] = [messages.at(0), messages.at(-1)];
    if (first === undefined || last === undefined) return null;
    return { start: first.message.offset, end: last.message.offset + 1, messages };
  }

  /** The range that an intent names, once all of it has been read. */
  #rangeOf(intent: Intent): Range | null {
    const { start, end } = intent;
    const messages = this.#waiting.filter(({ message }) => message.offset < end);
    const newest = this.#waiting.at(-1)?.message.offset ?? -1;
    if (newest >= end - 1 && messages.length > 0) return { start, end, messages };
    // No range of ours is longer: the note is not ours, or its messages have expired. The ledger still turns away what is in.
    if (newest >= end - 1 || messages.length > RANGE_MESSAGES_MAX) {
      this.#ports.log.error(
        { at: this.#at, intent },
        "the range of an intent cannot be read again; going on without it",
      );
      this.#intent = null;
      return this.#nextRange();
    }
    return null;
  }

  async #move(range: Range): Promise<void> {
    const decisions = triage(range.messages, this.#sequences.known, this.#ports.limits);
    await this.#intend(range);
    await this.#bury(decisions.filter((decision) => decision.kind === "dead"));
    const outcome = await this.#insert(range, decisions);
    const ledger = await this.#account(range, outcome);
    this.#finish(range, outcome, ledger);
  }

  async #intend(range: Range): Promise<void> {
    if (this.#intent !== null) return;
    const intent: Intent = { start: range.start, end: range.end, split: [] };
    await this.#commit(range.start, writeIntent(intent));
    this.#intent = intent;
  }

  async #bury(dead: readonly Dead[]): Promise<void> {
    if (dead.length === 0) return;
    const letters = dead.map((each) => deadLetter(each, this.#ports.now()));
    await this.#retry("publish dead letters", () => this.#ports.bus.publish(letters));
    for (const { message, reason, detail } of dead) {
      this.#ports.log.warn({ at: this.#at, offset: message.offset, reason, detail }, "set a batch aside");
    }
  }

  /** The decisions again, with those that the engine refused among the dead. */
  async #insert(range: Range, decisions: readonly Decision[]): Promise<readonly Decision[]> {
    const refused = new Map<Decision, Dead>();
    for (const schema of SCHEMAS_OF_TOPIC[this.#partition.topic as TelemetryTopic]) {
      const accepted = decisions
        .filter((each) => each.kind === "accepted")
        .filter((each) => each.header.schema === schema);
      if (accepted.length === 0) continue;
      for (const [decision, dead] of await this.#insertTable(range, schema, accepted)) refused.set(decision, dead);
    }
    await this.#bury([...refused.values()]);
    return decisions.map((decision) => refused.get(decision) ?? decision);
  }

  async #insertTable(
    range: Range,
    table: TelemetrySchema,
    accepted: readonly Accepted[],
  ): Promise<ReadonlyMap<Decision, Dead>> {
    const name = `${rangeName(this.#at, range)}:${table}`;
    if (this.#intent?.split.includes(table) !== true) {
      const refusal = await this.#tryInsert(table, accepted, name);
      if (refusal === null) return new Map();
      const [only] = accepted;
      if (accepted.length === 1 && only !== undefined) return new Map([[only, refusedAs(only, refusal)]]);
      await this.#noteSplit(range, table);
    }
    const refused = new Map<Decision, Dead>();
    for (const each of accepted) {
      const refusal = await this.#tryInsert(table, [each], `${name}:${each.message.offset}`);
      if (refusal !== null) refused.set(each, refusedAs(each, refusal));
    }
    return refused;
  }

  /** null when it is in; the error when the engine refuses these very bytes. */
  async #tryInsert(
    table: TelemetrySchema,
    batches: readonly Accepted[],
    dedupToken: string,
  ): Promise<InsertError | null> {
    const frames = batches.map((batch) => batch.value);
    const rowCount = batches.reduce((rows, batch) => rows + batch.header.row_count, 0);
    try {
      const insert = { table, frames, dedupToken, rowCount };
      await this.#retry(`insert ${table}`, () => this.#ports.insert.insertNative(insert));
      return null;
    } catch (error) {
      if (error instanceof InsertError && !error.retryable) return error;
      throw error;
    }
  }

  async #noteSplit(range: Range, table: TelemetrySchema): Promise<void> {
    const intent: Intent = { start: range.start, end: range.end, split: [...(this.#intent?.split ?? []), table] };
    await this.#commit(range.start, writeIntent(intent));
    this.#intent = intent;
  }

  async #account(range: Range, outcome: readonly Decision[]): Promise<readonly LedgerRow[]> {
    const { topic, partition } = this.#partition;
    const ledger = ledgerRows({ topic, partition }, range, outcome, (producer) => this.#sequences.account(producer));
    const rows = ledger.map((row) => ({ ...row }));
    const dedupToken = `${rangeName(this.#at, range)}:ledger`;
    await this.#retry("insert ingest_ledger", () =>
      this.#ports.insert.insertJson({ table: "ingest_ledger", rows, dedupToken }),
    );
    return ledger;
  }

  #finish(range: Range, outcome: readonly Decision[], ledger: readonly LedgerRow[]): void {
    const { counts, troubles } = this.#ports;
    troubles.seen(this.#partition.topic, outcome);
    for (const row of ledger) {
      if (row.producer === "") continue;
      this.#sequences.advance(row.producer, {
        lastSequence: row.last_sequence,
        sinceSequence: row.since_sequence,
        rows: row.total_rows,
        deadRows: row.total_dead_rows,
      });
    }
    for (const decision of outcome) {
      if (decision.kind === "duplicate") counts.duplicates++;
      else if (decision.kind === "dead") counts.dead[decision.reason]++;
      else {
        counts.batchesInserted++;
        counts.rowsInserted += decision.header.row_count;
      }
    }
    this.#waiting.splice(0, range.messages.length);
    this.#intent = null;
    this.#done = range.end;
  }

  async #commit(offset: number, metadata: string): Promise<void> {
    await this.#retry("commit", () => this.#partition.commit(offset, metadata));
    if (metadata === "") this.#committed = offset;
  }

  #retry<T>(what: string, run: () => Promise<T>): Promise<T> {
    return this.#ports.retry({ what, at: this.#at, signal: this.#partition.signal }, run);
  }
}

const placeOf = ({ topic, partition }: AssignedPartition): string => `${topic}:${partition}`;

const refusedAs = ({ message, value, header }: Accepted, error: InsertError): Dead => ({
  kind: "dead",
  message,
  // Rows that were put together anew from a batch that its sender packed better may be more than a message holds.
  value: value.length > MESSAGE_BYTES_MAX ? message.value : value,
  header,
  reason: "refused",
  detail: error.message,
});

const countExpired = (
  partition: AssignedPartition,
  { counts, log, troubles }: TelemetryPorts,
  expired = partition.earliestOffset - (partition.committed?.offset ?? partition.earliestOffset),
): void => {
  if (expired <= 0) return;
  counts.messagesExpired += expired;
  troubles.expired(partition.topic, partition.partition, expired);
  log.error({ at: placeOf(partition), messages: expired }, "the bus's retention took messages before they were read");
};

const intentOf = (partition: AssignedPartition, log: Log): Intent | null => {
  if (partition.committed === null) return null;
  const { offset, metadata } = partition.committed;
  const intent = readIntent(offset, metadata);
  if (intent === "unreadable") {
    log.error(
      { at: placeOf(partition), metadata: metadata.slice(0, 200) },
      "the committed note is not ours; going on without it",
    );
    return null;
  }
  return intent !== null && intent.end > partition.earliestOffset ? intent : null;
};
