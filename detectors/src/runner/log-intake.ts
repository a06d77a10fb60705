import type { Batch, BatchOf, Finding } from "@homeostat/schemas";
import { z } from "zod";
import { growColumns, loadColumns, makeColumns, pickColumns, saveColumns } from "../columns.ts";
import type { Readiness } from "../detector.ts";
import { FRESH_MS } from "../episode.ts";
import type { LogWindow, Stream } from "../window.ts";
import { Cap } from "./cap.ts";
import type { DetectorsConfig } from "./config.ts";
import { FORGET_OBSERVED_MS, FUTURE_MS, type Intake, isForgetDue, noCounts, type Tick } from "./intake.ts";
import { loadWatches, SavedWatches, saveWatches } from "./saved-watches.ts";
import type { Snapshot } from "./snapshot.ts";
import { readinessOf, type Watch } from "./watch.ts";

const TWO_POW_32 = 4_294_967_296;
const NS_PER_MS = 1_000_000;

const STREAM_LAYOUT = { arrived: { fill: 0 } } as const;

const SavedIntake = z.strictObject({
  streams: z.array(z.strictObject({ host: z.string(), service: z.string() })),
  cap: z.unknown(),
  watches: SavedWatches,
});

const streamKey = (host: string, service: string): string => `${host}\u0000${service}`;

const NO_BODY = new Uint8Array(0);

export class LogIntake implements Intake {
  readonly counts = noCounts();
  readonly #config: DetectorsConfig;
  readonly #watches: readonly Watch<LogWindow>[];
  readonly #cap: Cap;
  #streams: Stream[] = [];
  #slotOf = new Map<string, number>();
  #columns = makeColumns(STREAM_LAYOUT);
  #forgotAt = 0;

  constructor(watches: readonly Watch<LogWindow>[], config: DetectorsConfig) {
    this.#config = config;
    this.#watches = watches;
    this.#cap = new Cap({ rule: "stream-cap", what: "log streams", max: config.streams_max });
  }

  get subjects(): number {
    return this.#streams.length;
  }

  get watched(): number {
    return this.#watches.length === 0 ? 0 : this.#streams.length;
  }

  get refused(): number {
    return this.#cap.refused;
  }

  take(batch: Batch, { nowUnixMs }: { readonly nowUnixMs: number }): readonly Finding[] {
    return batch.schema === "logs" ? this.#takeLogs(batch, nowUnixMs) : [];
  }

  tick({ nowUnixMs, observingSinceUnixMs }: Tick): readonly Finding[] {
    const window = {
      nowUnixMs,
      isTick: true,
      streams: this.#streams,
      count: 0,
      slots: new Uint32Array(0),
      times: new Float64Array(0),
      severities: new Uint8Array(0),
      body: () => NO_BODY,
    };
    const findings = this.#watches.flatMap((watch) => watch.step(window));
    findings.push(...this.#cap.tick(nowUnixMs));
    if (nowUnixMs - observingSinceUnixMs >= FORGET_OBSERVED_MS && isForgetDue(nowUnixMs, this.#forgotAt))
      findings.push(...this.#forget(nowUnixMs));
    return findings;
  }

  #takeLogs(batch: BatchOf<"logs">, nowUnixMs: number): readonly Finding[] {
    const timestamps = batch.column("timestamp");
    const time32 = new Uint32Array(timestamps.buffer, timestamps.byteOffset, timestamps.length * 2);
    const severityOf = batch.column("severity_number");
    const bodies = batch.column("body");
    const slots = new Uint32Array(batch.rowCount);
    const rows = new Uint32Array(batch.rowCount);
    const times = new Float64Array(batch.rowCount);
    const severities = new Uint8Array(batch.rowCount);
    const slotAt = this.#slotsOf(batch, nowUnixMs);
    let count = 0;
    for (let row = 0; row < batch.rowCount; row++) {
      const ns = (time32[row * 2 + 1] as number) * TWO_POW_32 + (time32[row * 2] as number);
      const time = Math.floor(ns / NS_PER_MS);
      if (time > nowUnixMs + FUTURE_MS) {
        this.counts.future++;
        continue;
      }
      if (time < nowUnixMs - FRESH_MS) this.counts.late++;
      const slot = slotAt(row);
      if (slot < 0) continue;
      slots[count] = slot;
      rows[count] = row;
      times[count] = time;
      severities[count] = severityOf[row] as number;
      count++;
    }
    this.counts.rows += batch.rowCount;
    const body = (at: number): Uint8Array => bodies.bytesAt(rows[at] as number);
    const window = { nowUnixMs, isTick: false, streams: this.#streams, count, slots, times, severities, body };
    return this.#watches.flatMap((watch) => watch.step(window));
  }

  /** The stream of each row, -1 at the cap. Rows of one stream come in runs, so the last answer is tried first. */
  #slotsOf(batch: BatchOf<"logs">, nowUnixMs: number): (row: number) => number {
    const hosts = batch.column("host_name");
    const services = batch.column("service_name");
    let [host, service, slot] = ["\u0000", "\u0000", -1];
    return (row) => {
      const [rowHost, rowService] = [hosts.at(row), services.at(row)];
      if (rowHost === host && rowService === service) return slot;
      host = rowHost;
      service = rowService;
      slot = this.#slot(host, service, nowUnixMs);
      if (slot >= 0) this.#columns.at.arrived[slot] = nowUnixMs;
      return slot;
    };
  }

  #slot(host: string, service: string, nowUnixMs: number): number {
    const key = streamKey(host, service);
    const known = this.#slotOf.get(key);
    if (known !== undefined) return known;
    const slot = this.#streams.length;
    if (slot >= this.#config.streams_max) {
      this.#cap.refuse(host, nowUnixMs);
      return -1;
    }
    this.#streams.push({ host, service });
    this.#slotOf.set(key, slot);
    growColumns(this.#columns, STREAM_LAYOUT, slot + 1);
    return slot;
  }

  #forget(nowUnixMs: number): readonly Finding[] {
    this.#forgotAt = nowUnixMs;
    const since = nowUnixMs - this.#config.forget_after_s * 1000;
    const kept = Uint32Array.from(
      [...this.#streams.keys()].filter((slot) => (this.#columns.at.arrived[slot] as number) >= since),
    );
    if (kept.length === this.#streams.length) return [];
    this.#columns = pickColumns(this.#columns, STREAM_LAYOUT, kept);
    this.#rename(Array.from(kept, (slot) => this.#streams[slot] as Stream));
    return this.#watches.flatMap((watch) => watch.forget(kept, nowUnixMs));
  }

  #rename(streams: readonly Stream[]): void {
    this.#streams = [...streams];
    this.#slotOf = new Map(streams.map(({ host, service }, slot) => [streamKey(host, service), slot]));
  }

  readiness(nowUnixMs: number): ReadonlyMap<string, Readiness> {
    return readinessOf(this.#watches, nowUnixMs);
  }

  /** Streams have no history in the store. */
  lacking(): ReadonlyMap<string, readonly never[]> {
    return new Map();
  }

  recall(): void {
    return;
  }

  save(): Snapshot {
    const watches = saveWatches(this.#watches);
    const json: z.input<typeof SavedIntake> = { streams: this.#streams, cap: this.#cap.save(), watches: watches.json };
    return {
      json,
      columns: {
        ...watches.columns,
        "intake.arrived": saveColumns(this.#columns, STREAM_LAYOUT).arrived ?? new Float64Array(),
      },
    };
  }

  load({ json, columns }: Snapshot): readonly Finding[] {
    const saved = SavedIntake.parse(json);
    const loaded = loadColumns({ arrived: columns["intake.arrived"] ?? new Float64Array() }, STREAM_LAYOUT);
    if (loaded.slots !== saved.streams.length)
      throw new RangeError(`${saved.streams.length} streams, ${loaded.slots} slots`);
    this.#columns = loaded;
    this.#rename(saved.streams);
    this.#cap.load(saved.cap);
    return loadWatches(this.#watches, saved.watches, columns);
  }
}
