import type { GatewayReport } from "@homeostat/schemas";
import type { RoomAccount } from "./byte-room.ts";
import type { Cardinality } from "./cardinality.ts";
import type { Fences } from "./fences.ts";
import { entryOf, type Identities, ResourceEntry, SeriesEntry } from "./identities.ts";
import type { HistogramPoint, LogRecord, Refusal, ResourceRef, SeriesRef, Submission } from "./intake.ts";
import type { RowGroup } from "./lane.ts";
import { countRejected } from "./receiver-counts.ts";
import { recordFits } from "./record-size.ts";
import type { Rows } from "./rows.ts";
import type { SenderTimes } from "./sender-times.ts";
import { nothingCounted, pointRefusal, refusalOfRow, timed } from "./telemetry-rows.ts";

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
    const entry = entryOf(ref, ResourceEntry);
    const { fences, nowUnixMs, rows } = this.#ports;
    const times = timed(record, nowUnixMs);
    const early = this.#tooMany() ?? entry.refusal ?? this.#fenceNano(fences.refusalOfNano(times.time), times.time);
    if (early !== null) return this.#refuse(early);
    if (!recordFits(record)) return this.#refuse("too_large");
    try {
      this.#track(rows.log(entry, times, nowUnixMs));
    } catch (error) {
      return this.#refuse(refusalOfRow(error));
    }
    return this.#took();
  }

  sample(ref: SeriesRef, timestampUnixMs: number, value: number, startUnixMs = 0): Refusal | null {
    const entry = entryOf(ref, SeriesEntry);
    const refusal = this.#tooMany() ?? entry.refusal ?? this.#timeRefusal(timestampUnixMs);
    if (refusal !== null) return this.#refuse(refusal);
    if (this.#isOverBudget(entry)) return this.#fold(entry);
    const { rows, nowUnixMs } = this.#ports;
    try {
      if (entry.beginsAt(startUnixMs, timestampUnixMs, this.#ports.fences))
        this.#track(rows.sample(entry, startUnixMs, 0, nowUnixMs));
      this.#track(rows.sample(entry, timestampUnixMs, value, nowUnixMs));
    } catch (error) {
      return this.#refuse(refusalOfRow(error));
    }
    return this.#took();
  }

  histogram(ref: SeriesRef, point: HistogramPoint, startUnixMs = 0): Refusal | null {
    const entry = entryOf(ref, SeriesEntry);
    const refusal = this.#tooMany() ?? entry.refusal ?? this.#timeRefusal(point.timestampUnixMs) ?? pointRefusal(point);
    if (refusal !== null) return this.#refuse(refusal);
    if (this.#isOverBudget(entry)) return this.#fold(entry);
    const { rows, nowUnixMs } = this.#ports;
    try {
      if (entry.beginsAt(startUnixMs, point.timestampUnixMs, this.#ports.fences))
        this.#track(rows.histogram(entry, nothingCounted(point, startUnixMs), nowUnixMs));
      this.#track(rows.histogram(entry, point, nowUnixMs));
    } catch (error) {
      return this.#refuse(refusalOfRow(error));
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

  #timeRefusal(timestampUnixMs: number): Refusal | null {
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
}
