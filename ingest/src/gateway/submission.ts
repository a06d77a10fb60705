import { BatchError, type GatewayReport } from "@homeostat/schemas";
import type { RoomAccount } from "./byte-room.ts";
import type { Cardinality } from "./cardinality.ts";
import type { Fences } from "./fences.ts";
import { type Identities, ResourceEntry, SeriesEntry } from "./identities.ts";
import type { HistogramPoint, LogRecord, Refusal, ResourceRef, SeriesRef, Submission } from "./intake.ts";
import type { RowGroup } from "./lane.ts";
import { countRejected } from "./receiver-counts.ts";
import { recordFits } from "./record-size.ts";
import type { Rows } from "./rows.ts";
import type { SenderTimes } from "./sender-times.ts";

/** A counter that is new here and began within this time began while we watched: it counted from zero. */
const BEGAN_LATELY_MS = 600_000;
const NS_PER_MS = 1_000_000n;

export interface SubmissionPorts {
  readonly rows: Rows;
  readonly identities: Identities;
  readonly cardinality: Cardinality;
  readonly senderTimes: SenderTimes;
  readonly fences: Fences;
  readonly recordsMax: number;
  readonly sender: string;
  readonly count: GatewayReport["receivers"][number];
  readonly account: RoomAccount;
  readonly nowUnixMs: number;
}

export class GatewaySubmission implements Submission {
  readonly #ports: SubmissionPorts;
  readonly #groups = new Set<RowGroup>();
  #lastGroup: RowGroup | null = null;
  #records = 0;
  #taken = 0;
  #fenced = 0;
  #offsetMs = 0;
  #isEnded = false;

  constructor(ports: SubmissionPorts) {
    this.#ports = ports;
    ports.count.requests++;
  }

  log(ref: ResourceRef, record: LogRecord): Refusal | null {
    const entry = expect(ref, ResourceEntry);
    const { fences, nowUnixMs, rows } = this.#ports;
    const observed = record.observedUnixNano === 0n ? BigInt(nowUnixMs) * NS_PER_MS : record.observedUnixNano;
    const time = record.timeUnixNano === 0n ? observed : record.timeUnixNano;
    const early = this.#tooMany() ?? entry.refusal ?? this.#fenceNano(fences.refusalOfNano(time), time);
    if (early !== null) return this.#refuse(early);
    if (!recordFits(record)) return this.#refuse("too_large");
    try {
      this.#track(rows.log(entry, { time, observed, record }, nowUnixMs));
    } catch (error) {
      return this.#refuse(refusalOf(error));
    }
    return this.#took();
  }

  sample(ref: SeriesRef, timestampUnixMs: number, value: number, startUnixMs = 0): Refusal | null {
    const entry = expect(ref, SeriesEntry);
    const refusal = this.#tooMany() ?? entry.refusal ?? this.#pointRefusal(timestampUnixMs);
    if (refusal !== null) return this.#refuse(refusal);
    if (this.#isOverBudget(entry)) return this.#fold(entry);
    const { rows, nowUnixMs } = this.#ports;
    try {
      if (this.#beginsAt(entry, timestampUnixMs, startUnixMs))
        this.#track(rows.sample(entry, startUnixMs, 0, nowUnixMs));
      this.#track(rows.sample(entry, timestampUnixMs, value, nowUnixMs));
    } catch (error) {
      return this.#refuse(refusalOf(error));
    }
    return this.#took();
  }

  histogram(ref: SeriesRef, point: HistogramPoint, startUnixMs = 0): Refusal | null {
    const entry = expect(ref, SeriesEntry);
    const refusal = this.#tooMany() ?? entry.refusal ?? this.#pointRefusal(point.timestampUnixMs);
    if (refusal !== null) return this.#refuse(refusal);
    if (point.bounds.length !== point.counts.length) return this.#refuse("bad_value");
    if (Number.isNaN(point.count) || point.counts.some(Number.isNaN)) return this.#refuse("not_a_number");
    if (this.#isOverBudget(entry)) return this.#fold(entry);
    const { rows, nowUnixMs } = this.#ports;
    try {
      if (this.#beginsAt(entry, point.timestampUnixMs, startUnixMs))
        this.#track(rows.histogram(entry, nothingCounted(point, startUnixMs), nowUnixMs));
      this.#track(rows.histogram(entry, point, nowUnixMs));
    } catch (error) {
      return this.#refuse(refusalOf(error));
    }
    return this.#took();
  }

  reject(reason: string, records: number): void {
    this.#records += records;
    countRejected(this.#ports.count, reason, records);
  }

  async commit(): Promise<void> {
    this.#end();
    const { senderTimes, sender, account } = this.#ports;
    senderTimes.note(sender, { records: this.#records, refused: this.#fenced, offsetMs: this.#offsetMs });
    try {
      await Promise.all([...this.#groups].map((group) => group.durable));
    } finally {
      account.close();
    }
  }

  abandon(): void {
    this.#end();
    this.#ports.account.close();
  }

  #end(): void {
    if (this.#isEnded) throw new Error("this submission was committed or abandoned already");
    this.#isEnded = true;
  }

  #took(): null {
    this.#taken++;
    this.#ports.count.accepted++;
    return null;
  }

  #track(group: RowGroup): void {
    if (group === this.#lastGroup) return;
    this.#lastGroup = group;
    this.#groups.add(group);
  }

  #refuse(reason: Refusal): Refusal {
    countRejected(this.#ports.count, reason, 1);
    return reason;
  }

  #tooMany(): Refusal | null {
    this.#records++;
    return this.#taken < this.#ports.recordsMax ? null : "too_many";
  }

  #pointRefusal(timestampUnixMs: number): Refusal | null {
    if (!Number.isInteger(timestampUnixMs)) return "not_a_number";
    return this.#fence(this.#ports.fences.refusalOf(timestampUnixMs), timestampUnixMs);
  }

  #fenceNano(refusal: Refusal | null, unixNano: bigint): Refusal | null {
    return refusal === null ? null : this.#fence(refusal, Number(unixNano / NS_PER_MS));
  }

  /** Notes how far off the nearest refused record is. */
  #fence(refusal: Refusal | null, unixMs: number): Refusal | null {
    if (refusal === null) return null;
    this.#fenced++;
    const offset = unixMs - this.#ports.nowUnixMs;
    if (this.#offsetMs === 0 || Math.abs(offset) < Math.abs(this.#offsetMs)) this.#offsetMs = offset;
    return refusal;
  }

  /** What was refused in an earlier part of the window is tried again. */
  #isOverBudget(entry: SeriesEntry): boolean {
    if (entry.overflow === null) return false;
    const { cardinality, identities, nowUnixMs } = this.#ports;
    if (entry.refusedInSlot === cardinality.slot(nowUnixMs) || !cardinality.admit(entry, nowUnixMs)) return true;
    identities.remember(entry);
    return false;
  }

  #fold(entry: SeriesEntry): null {
    const { rows, cardinality, count, sender } = this.#ports;
    if (entry.overflow !== null) this.#track(rows.fold(entry.overflow));
    cardinality.folded(entry, sender);
    this.#taken++;
    countRejected(count, "overflow", 1);
    return null;
  }

  /** Whether a cumulative series began to count anew at its start time, so that it was zero then. Remembers the start. */
  #beginsAt(entry: SeriesEntry, timestampUnixMs: number, startUnixMs: number): boolean {
    const { kind } = entry.identity;
    if (kind !== "counter" && kind !== "histogram") return false;
    const before = entry.startUnixMs;
    if (before === null || startUnixMs > before) entry.startUnixMs = startUnixMs;
    if (startUnixMs <= 0 || startUnixMs >= timestampUnixMs || !Number.isInteger(startUnixMs)) return false;
    if (this.#ports.fences.refusalOf(startUnixMs) !== null) return false;
    if (before === null) return timestampUnixMs - startUnixMs <= BEGAN_LATELY_MS;
    return before > 0 && startUnixMs > before;
  }
}

const nothingCounted = (point: HistogramPoint, startUnixMs: number): HistogramPoint => ({
  timestampUnixMs: startUnixMs,
  count: 0,
  sum: 0,
  min: Number.NaN,
  max: Number.NaN,
  bounds: point.bounds,
  counts: point.counts.map(() => 0),
});

/** What the columns do not take; anything else is a defect. */
const refusalOf = (error: unknown): Refusal => {
  if (!(error instanceof BatchError)) throw error;
  return error.code === "too_long" ? "too_large" : "bad_value";
};

const expect = <T extends object>(ref: object, type: abstract new (...args: never[]) => T): T => {
  if (ref instanceof type) return ref;
  throw new TypeError(`want a reference that a gateway has made, as a ${type.name}`);
};
