import { metricId, resourceId, seriesFingerprint } from "@homeostat/schemas";
import type { Fences } from "./fences.ts";
import { Generations } from "./generations.ts";
import type { Refusal, Resource, ResourceRef, SeriesIdentity, SeriesRef } from "./intake.ts";
import { hash32 } from "./text-hash.ts";

/** Names and labels of one series or resource; larger ones are refused with all that is appended to them. */
export const IDENTITY_BYTES_MAX = 65_536;
/** More labels than a map may hold (MAP_ENTRIES_MAX) would refuse its batch's row. */
const LABELS_MAX = 1024;
/** Host and service stand in every row of a log batch, so one long name could fill memory many times over. */
const NAME_LENGTH_MAX = 255;
/** Four times what OpenTelemetry allows for an instrument's name. */
const METRIC_NAME_LENGTH_MAX = 1024;
/** Metrics whose ids are remembered; then all are computed anew. */
const METRIC_IDS_MAX = 10_000;
/** Measured on Node 24: what an entry with its identity, its map slot and each of its labels take beside the text. */
const ENTRY_BYTES = 400;
const LABEL_BYTES = 80;

/** What has been told is told anew this often, as agents do, so that a reader need not look back further than a day's part or a topic's retention. */
const RETELL_MS = 600_000;
/** A counter that is new here and began within this time began while we watched: it counted from zero. */
const BEGAN_LATELY_MS = 600_000;

/** When something was last told to the bus, and in which epoch: a batch that is lost begins a new one, and all is told anew. */
abstract class Told {
  #toldAtUnixMs = Number.NEGATIVE_INFINITY;
  #toldInEpoch = -1;

  isUntold(epoch: number, nowUnixMs: number): boolean {
    // A clock that went back tells anew as well.
    const age = nowUnixMs - this.#toldAtUnixMs;
    return this.#toldInEpoch !== epoch || age >= RETELL_MS || age < 0;
  }

  markTold(epoch: number, nowUnixMs: number): void {
    this.#toldInEpoch = epoch;
    this.#toldAtUnixMs = nowUnixMs;
  }
}

export class ResourceEntry extends Told implements ResourceRef {
  readonly resource: Resource;
  readonly resourceId: bigint;
  readonly lane: number;
  readonly bytes: number;
  readonly refusal: Refusal | null;

  constructor(resource: Resource, id: bigint, lanes: number) {
    super();
    this.resource = resource;
    this.resourceId = id;
    this.lane = hash32(resource.host) % lanes;
    this.bytes = identityBytes([resource.host, resource.service], resource.attributes);
    this.refusal = refusalOf(this.bytes, resource);
  }
}

export class SeriesEntry extends Told implements SeriesRef {
  readonly identity: SeriesIdentity;
  readonly fingerprint: bigint;
  readonly metricId: bigint;
  readonly lane: number;
  readonly bytes: number;
  readonly refusal: Refusal | null;
  /** Since when it counts; 0: the sender has not told. null: nothing was appended yet. */
  #startUnixMs: number | null = null;
  /** Where samples are counted while the metric is over its budget, and the budget's window in which that was found. */
  overflow: SeriesEntry | null = null;
  refusedInSlot = 0;

  constructor(identity: SeriesIdentity, ids: { metricId: bigint; fingerprint: bigint }, lane: number) {
    super();
    this.identity = identity;
    this.fingerprint = ids.fingerprint;
    this.metricId = ids.metricId;
    this.lane = lane;
    this.bytes = identityBytes([identity.name, identity.unit, identity.host, identity.service], identity.attributes);
    this.refusal = identity.name.length > METRIC_NAME_LENGTH_MAX ? "too_large" : refusalOf(this.bytes, identity);
  }

  /** Whether a cumulative series began to count anew at its start time, so that it was zero then. Remembers the start. */
  beginsAt(startUnixMs: number, timestampUnixMs: number, fences: Fences): boolean {
    const { kind } = this.identity;
    if (kind !== "counter" && kind !== "histogram") return false;
    const before = this.#startUnixMs;
    if (before === null || startUnixMs > before) this.#startUnixMs = startUnixMs;
    if (startUnixMs <= 0 || startUnixMs >= timestampUnixMs || !Number.isInteger(startUnixMs)) return false;
    if (fences.refusalOf(startUnixMs) !== null) return false;
    if (before === null) return timestampUnixMs - startUnixMs <= BEGAN_LATELY_MS;
    return before > 0 && startUnixMs > before;
  }
}

/** The entry behind a reference. @throws TypeError for one that this process has not made. */
export const entryOf = <T extends object>(ref: object, type: abstract new (...args: never[]) => T): T => {
  if (ref instanceof type) return ref;
  throw new TypeError(`want a reference that a gateway has made, as a ${type.name}`);
};

const identityBytes = (names: readonly string[], labels: Readonly<Record<string, string>>): number => {
  let bytes = ENTRY_BYTES;
  for (const name of names) bytes += name.length;
  for (const label in labels) bytes += LABEL_BYTES + label.length + (labels[label] ?? "").length;
  return bytes;
};

const refusalOf = (
  bytes: number,
  { host, service, attributes }: { host: string; service: string; attributes: Readonly<Record<string, string>> },
): Refusal | null => {
  const isTooLarge = bytes > IDENTITY_BYTES_MAX || host.length > NAME_LENGTH_MAX || service.length > NAME_LENGTH_MAX;
  return isTooLarge || Object.keys(attributes).length > LABELS_MAX ? "too_large" : null;
};

/** A quarter of what identities may take is for resources, the rest for series. */
const RESOURCES_SHARE = 0.25;

export class Identities {
  readonly #lanes: number;
  readonly #resources: Generations<ResourceEntry>;
  readonly #series: Generations<SeriesEntry>;
  readonly #metricIds = new Map<string, bigint>();

  constructor({ lanes, bytesMax }: { lanes: number; bytesMax: number }) {
    this.#lanes = lanes;
    this.#resources = new Generations(bytesMax * RESOURCES_SHARE, ({ bytes }) => bytes);
    this.#series = new Generations(bytesMax * (1 - RESOURCES_SHARE), ({ bytes }) => bytes);
  }

  get counts(): { readonly resources: number; readonly series: number } {
    return { resources: this.#resources.size, series: this.#series.size };
  }

  resource(resource: Resource): ResourceEntry {
    const id = resourceId(resource.attributes);
    const known = this.#resources.get(id);
    if (known !== undefined) return known;
    const entry = new ResourceEntry(resource, id, this.#lanes);
    if (entry.refusal === null) this.#resources.put(id, entry);
    return entry;
  }

  /** The entry that is known, or one that is not remembered yet: see `remember`. */
  series(identity: SeriesIdentity): { readonly entry: SeriesEntry; readonly isNew: boolean } {
    const fingerprint = seriesFingerprint(identity.name, identity.attributes);
    const known = this.#series.get(fingerprint);
    if (known !== undefined && known.identity.kind === identity.kind && known.identity.unit === identity.unit)
      return { entry: known, isNew: false };
    const ids = { fingerprint, metricId: this.#metricId(identity.name) };
    const entry = new SeriesEntry(identity, ids, hash32(identity.host) % this.#lanes);
    // A series whose kind or unit has changed is told anew, and is not new.
    if (known !== undefined) this.remember(entry);
    return { entry, isNew: known === undefined };
  }

  #metricId(name: string): bigint {
    const known = this.#metricIds.get(name);
    if (known !== undefined) return known;
    if (this.#metricIds.size >= METRIC_IDS_MAX) this.#metricIds.clear();
    const id = metricId(name);
    if (name.length <= METRIC_NAME_LENGTH_MAX) this.#metricIds.set(name, id);
    return id;
  }

  remember(entry: SeriesEntry): void {
    this.#series.put(entry.fingerprint, entry);
  }
}
