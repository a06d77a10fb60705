import {
  type Incident,
  IncidentRecord,
  MESSAGE_BYTES_MAX,
  type Notification,
  type OutgoingMessage,
  RemediationRecord,
  type RemediationRun,
} from "@homeostat/schemas";
import type { RemediationConfig } from "../config.ts";
import { addToTimeline, enterState } from "../incident/incident.ts";
import { pendingNotifications } from "../receivers/outbox.ts";

/** The state that the journals fold to: the last record of each key. */
export interface World {
  readonly incidents: ReadonlyMap<string, Incident>;
  readonly runs: ReadonlyMap<string, RemediationRun>;
  readonly notifications: ReadonlyMap<string, Notification>;
}

export interface MutableWorld extends World {
  readonly incidents: Map<string, Incident>;
  readonly runs: Map<string, RemediationRun>;
  readonly notifications: Map<string, Notification>;
}

export const emptyWorld = (): MutableWorld => ({ incidents: new Map(), runs: new Map(), notifications: new Map() });

/** Half of what the bus takes: an incident that grew beyond it loses findings, then timeline, in the middle. */
const INCIDENT_BYTES_MAX = MESSAGE_BYTES_MAX / 2;

const withoutMiddle = <T>(items: readonly T[]): T[] => items.toSpliced(Math.max(1, Math.floor(items.length / 2)), 1);

const fit = (incident: Incident): Incident => {
  let fitting = incident;
  while (Buffer.byteLength(JSON.stringify(fitting)) > INCIDENT_BYTES_MAX) {
    if (fitting.findings.length > 2) fitting = { ...fitting, findings: withoutMiddle(fitting.findings) };
    else if (fitting.timeline.length > 2) fitting = { ...fitting, timeline: withoutMiddle(fitting.timeline) };
    else return { ...fitting, findings: fitting.findings.map((finding) => ({ ...finding, labels: {}, evidence: [] })) };
  }
  return fitting;
};

class Layer<T> {
  readonly #below: ReadonlyMap<string, T>;
  readonly changed = new Map<string, T | null>();
  constructor(below: ReadonlyMap<string, T>) {
    this.#below = below;
  }
  get(id: string): T | undefined {
    const changed = this.changed.get(id);
    return changed === undefined ? this.#below.get(id) : (changed ?? undefined);
  }
  *values(): Generator<T> {
    for (const [id, value] of this.#below) {
      const changed = this.changed.get(id);
      if (changed !== null) yield changed ?? value;
    }
    for (const [id, value] of this.changed) if (value !== null && !this.#below.has(id)) yield value;
  }
}

/** Changes that are decided and not yet durable: they become the world once the journal has them, or are forgotten. */
export class Draft {
  readonly now: number;
  readonly incidents: Layer<Incident>;
  readonly runs: Layer<RemediationRun>;
  readonly notifications: Layer<Notification>;
  readonly messages: OutgoingMessage[] = [];
  /** What was turned away, by reason: for status, not for the journal. */
  readonly turnedAway = new Map<string, number>();
  readonly #config: Pick<RemediationConfig, "receivers" | "notify">;

  constructor(world: World, now: number, config: Pick<RemediationConfig, "receivers" | "notify">) {
    this.now = now;
    this.incidents = new Layer(world.incidents);
    this.runs = new Layer(world.runs);
    this.notifications = new Layer(world.notifications);
    this.#config = config;
  }

  saveIncident(event: string, changed: Incident): Incident {
    const incident = fit({ ...changed, version: changed.version + 1 });
    this.incidents.changed.set(incident.incident_id, incident);
    const record: IncidentRecord = { event, at_unix_ms: this.now, incident };
    this.#say("incidents.journal", incident.incident_id, IncidentRecord.parse(record));
    for (const notification of pendingNotifications(event, incident, this.#config, this.now))
      this.saveNotification(notification);
    return incident;
  }

  saveRun(event: string, changed: RemediationRun): RemediationRun {
    const run = { ...changed, version: changed.version + 1 };
    this.runs.changed.set(run.run_id, run);
    const record: RemediationRecord = { event, at_unix_ms: this.now, run };
    this.#say("remediation.journal", run.run_id, RemediationRecord.parse(record));
    return run;
  }

  incidentOf(run: RemediationRun): Incident | undefined {
    return this.incidents.get(run.incident_id);
  }

  moveIncident(incident: Incident, state: Incident["state"], why: string): undefined {
    this.saveIncident(state, enterState(incident, state, this.now, why));
  }

  /** On the timeline of the run's incident. */
  note(
    run: RemediationRun,
    event: string,
    { kind, text }: { readonly kind: string; readonly text: string },
  ): undefined {
    const incident = this.incidentOf(run);
    if (incident !== undefined) this.saveIncident(event, addToTimeline(incident, { at_unix_ms: this.now, kind, text }));
  }

  saveNotification(notification: Notification): undefined {
    this.notifications.changed.set(notification.delivery_id, notification);
    this.#say("notify.outbox", notification.delivery_id, notification);
  }

  turnAway(reason: string): undefined {
    this.turnedAway.set(reason, (this.turnedAway.get(reason) ?? 0) + 1);
  }

  forget(kind: "incidents" | "runs" | "notifications", id: string): void {
    const topic = { incidents: "incidents.journal", runs: "remediation.journal", notifications: "notify.outbox" }[kind];
    this[kind].changed.set(id, null);
    this.messages.push({ topic, key: id, value: null });
  }

  applyTo(world: MutableWorld): void {
    for (const kind of ["incidents", "runs", "notifications"] as const) {
      const target: Map<string, unknown> = world[kind];
      for (const [id, value] of this[kind].changed) {
        if (value === null) target.delete(id);
        else target.set(id, value);
      }
    }
  }

  #say(topic: string, key: string, value: unknown): void {
    this.messages.push({ topic, key, value: Buffer.from(JSON.stringify(value)) });
  }
}
