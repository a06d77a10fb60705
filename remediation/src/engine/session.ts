import type { KeyObject } from "node:crypto";
import {
  type AssignedPartition,
  type Bus,
  type BusMessage,
  CommandResult,
  type Consumer,
  type Facts,
  Finding,
  Heartbeat,
  type Log,
  type RemediationRun,
  type Step,
} from "@homeostat/schemas";
import type { z } from "zod";
import type { ActionPorts } from "../actions/action.ts";
import { actionNamed } from "../actions/catalog.ts";
import type { FactQuery } from "../actions/fact-query.ts";
import { outcomeOf } from "../actions/outcome.ts";
import type { RemediationConfig } from "../config.ts";
import type { HeartbeatSeen } from "../guards/guards.ts";
import type { AlertmanagerPayload } from "../receivers/alertmanager-webhook.ts";
import type { Delivery } from "../receivers/receiver.ts";
import { webhook } from "../receivers/webhook.ts";
import { advance } from "./advance.ts";
import type { Draft, MutableWorld } from "./draft.ts";
import type { Context, EngineEvent, HeardFinding } from "./event.ts";
import { dispatchFor, type Effect, owed, type SiteShares, wakeAt } from "./owed.ts";
import { pause, type Timers } from "./timers.ts";

export type GatherFacts = (queries: readonly FactQuery[]) => Promise<Facts>;

export interface SessionPorts {
  readonly bus: Bus;
  readonly config: RemediationConfig;
  readonly facts: GatherFacts;
  readonly signingKey: KeyObject;
  readonly now: () => number;
  readonly log: Log;
  readonly newId: () => string;
  readonly timers: Timers;
  /** Hosts of a site that others than this engine are changing; by default nobody. */
  readonly changingAt?: (site: string) => number;
}

export const WORKER_GROUP = "remediation-engine";
export const WRITER_HEADER = "writer";

const WORKER_TOPICS = ["detect.findings", "agent.results", "agent.heartbeats"] as const;
const DELIVERIES_AT_ONCE_MAX = 4;
const RETRY_MS = 1000;
/** Never a spinning engine, whatever is overdue. */
const WAKE_MS_MIN = 10;
const WAKE_MS_MAX = 3_600_000;
/** Above these the longest known give way. */
const HOSTS_MAX = 100_000;
const HEARD_MAX = 50_000;

const setCapped = <K, V>(map: Map<K, V>, key: K, value: V, max: number): void => {
  map.delete(key);
  map.set(key, value);
  const oldest = map.size > max ? map.keys().next() : null;
  if (oldest !== null && !oldest.done) map.delete(oldest.value);
};

const errorText = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

type Apply = Extract<Effect, { kind: "apply" }>;

interface Flight {
  readonly done: Promise<void>;
  readonly abort: AbortController;
}

interface Waiter {
  readonly host: string;
  readonly resolve: (result: CommandResult) => void;
  /** When what came of the result is in the journal. */
  readonly settled: Promise<void>;
}

/**
 * One term of leadership: from the replayed journals to the end of the lease. Events are taken one after another; each is decided, written
 * to the journals, and only then becomes the state whose effects are begun.
 */
export class Session {
  readonly world: MutableWorld;
  readonly sinceUnixMs: number;
  readonly writer: string;
  readonly turnedAway = new Map<string, number>();
  malformed = 0;
  lastError: string | null = null;
  readonly #ports: SessionPorts;
  readonly #lease: AssignedPartition;
  readonly #onDoubt: () => void;
  readonly #ended = new AbortController();
  readonly #heartbeats = new Map<string, HeartbeatSeen>();
  /** By host, as its heartbeats say. */
  readonly #sites = new Map<string, string>();
  readonly #heard = new Map<string, number>();
  readonly #inFlight = new Map<string, Flight>();
  readonly #notBefore = new Map<string, number>();
  readonly #waiters = new Map<string, Waiter>();
  #last: Promise<unknown> = Promise.resolve();
  #cancelWake: () => void = () => undefined;
  #worker: Consumer | null = null;
  #isStarted = false;

  constructor(
    world: MutableWorld,
    {
      lease,
      ports,
      onDoubt,
    }: { readonly lease: AssignedPartition; readonly ports: SessionPorts; readonly onDoubt: () => void },
  ) {
    this.world = world;
    this.#ports = ports;
    this.#lease = lease;
    this.#onDoubt = onDoubt;
    this.writer = ports.newId();
    this.sinceUnixMs = ports.now();
  }

  get hasStarted(): boolean {
    return this.#isStarted;
  }

  async start(): Promise<void> {
    await this.take({ kind: "resumed" });
    this.#worker = await this.#ports.bus.consume({
      group: WORKER_GROUP,
      topics: WORKER_TOPICS,
      maxMessages: 200,
      open: async (partition) => this.#open(partition),
      onError: (error) => this.#fail("a batch could not be taken, trying again", error),
    });
    this.#isStarted = true;
  }

  /** Begins nothing more, and resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#ended.abort();
    this.#cancelWake();
    const worker = this.#worker;
    this.#worker = null;
    await worker?.stop();
    await Promise.allSettled([this.#last, ...[...this.#inFlight.values()].map(({ done }) => done)]);
  }

  /** Resolves when what follows from the event is in the journal. */
  take(event: EngineEvent): Promise<void> {
    const taken = this.#last.then(() => this.#takeNext(event));
    this.#last = taken.catch(() => undefined);
    return taken;
  }

  async #takeNext(event: EngineEvent): Promise<void> {
    this.#assertLeading();
    try {
      const draft = advance(this.world, event, this.#context());
      if (draft.messages.length > 0) await this.#write(draft);
      for (const [reason, count] of draft.turnedAway)
        this.turnedAway.set(reason, (this.turnedAway.get(reason) ?? 0) + count);
    } catch (thrown) {
      this.#fail(`an event (${event.kind}) could not be taken`, thrown);
      this.#wakeAfter(RETRY_MS);
      throw thrown;
    }
    this.#pump();
  }

  async #write(draft: Draft): Promise<void> {
    const { bus } = this.#ports;
    // The fence: a member that lost its lease without knowing is refused here, before it can write.
    await this.#lease.commit(this.#lease.endOffset);
    this.#assertLeading();
    try {
      await bus.publish(draft.messages.map((message) => ({ ...message, headers: { [WRITER_HEADER]: this.writer } })));
    } catch (thrown) {
      // Some of it may be durable: only the journals know, so the term ends and they are read again.
      this.#onDoubt();
      throw thrown;
    }
    draft.applyTo(this.world);
  }

  #assertLeading(): void {
    if (this.#lease.signal.aborted || this.#ended.signal.aborted) throw new Error("this engine does not lead any more");
  }

  #context(): Context {
    return {
      now: this.#ports.now(),
      config: this.#ports.config,
      leaderSinceUnixMs: this.sinceUnixMs,
      heartbeats: this.#heartbeats,
      heard: this.#heard,
      newId: this.#ports.newId,
    };
  }

  #fail(message: string, thrown: unknown): void {
    if (this.#ended.signal.aborted) return;
    this.lastError = `${message}: ${errorText(thrown)}`.slice(0, 500);
    this.#ports.log.warn({ err: thrown }, message);
  }

  // ── effects

  #pump(): void {
    if (this.#ended.signal.aborted) return;
    const context = this.#context();
    const effects = owed(this.world, context);
    const keys = new Set(effects.map(({ key }) => key));
    for (const [key, { abort }] of this.#inFlight) if (!keys.has(key)) abort.abort();
    for (const key of this.#notBefore.keys()) if (!keys.has(key)) this.#notBefore.delete(key);
    let wake = wakeAt(this.world, context) ?? Infinity;
    for (const effect of effects) {
      const notBefore = this.#notBefore.get(effect.key) ?? 0;
      if (this.#inFlight.has(effect.key) || this.#isFull(effect)) continue;
      if (notBefore > context.now) wake = Math.min(wake, notBefore);
      else this.#begin(effect);
    }
    if (wake !== Infinity) this.#wakeAfter(wake - context.now);
  }

  #isFull({ kind }: Effect): boolean {
    if (kind !== "deliver") return false;
    return [...this.#inFlight.keys()].filter((key) => key.startsWith("deliver ")).length >= DELIVERIES_AT_ONCE_MAX;
  }

  #wakeAfter(ms: number): void {
    this.#cancelWake();
    if (this.#ended.signal.aborted) return;
    this.#cancelWake = this.#ports.timers.after(Math.min(WAKE_MS_MAX, Math.max(WAKE_MS_MIN, ms)), () => {
      this.take({ kind: "tick" }).catch((thrown: unknown) => this.#fail("a tick failed", thrown));
    });
  }

  /** What is under way is called off as soon as the state no longer asks for it, or the term ends. */
  #begin(effect: Effect): void {
    const done = Promise.withResolvers<void>();
    const abort = new AbortController();
    this.#inFlight.set(effect.key, { done: done.promise, abort });
    const perform = async (): Promise<void> => {
      try {
        await this.#perform(effect, AbortSignal.any([abort.signal, this.#ended.signal]));
      } catch (thrown) {
        this.#notBefore.set(effect.key, this.#ports.now() + RETRY_MS);
        this.#fail(`${effect.key} failed, trying again`, thrown);
      } finally {
        this.#inFlight.delete(effect.key);
        done.resolve();
        this.#pump();
      }
    };
    void perform();
  }

  async #perform(effect: Effect, signal: AbortSignal): Promise<void> {
    switch (effect.kind) {
      case "gather": {
        const facts = await this.#gather(effect.queries, signal);
        this.#notBefore.set(effect.key, this.#ports.now() + this.#ports.config.facts.poll_ms);
        return this.take({ kind: "facts", runId: effect.runId, facts });
      }
      case "apply":
        return this.#apply(effect, signal);
      case "deliver": {
        const delivery = await this.#deliver(effect, signal);
        if (this.#ended.signal.aborted && !delivery.ok) return;
        return this.take({ kind: "delivered", deliveryId: effect.notification.delivery_id, delivery });
      }
    }
  }

  /** What cannot be measured in time is null, so that the guards and the verification see the gap. */
  async #gather(queries: readonly FactQuery[], signal: AbortSignal): Promise<Facts> {
    const { facts, timers, config, now, log } = this.#ports;
    const nothing = (): Facts => ({
      at_unix_ms: now(),
      values: Object.fromEntries(queries.map(({ name }) => [name, null])),
    });
    if (queries.length === 0) return nothing();
    const gaveUp = new AbortController();
    const late = pause(config.facts.timeout_ms, AbortSignal.any([gaveUp.signal, signal]), timers).then(nothing);
    try {
      const gathered = facts(queries).catch((thrown: unknown) => {
        log.warn({ err: thrown }, "facts could not be gathered");
        return nothing();
      });
      const { at_unix_ms, values } = await Promise.race([gathered, late]);
      return { at_unix_ms, values: Object.fromEntries(queries.map(({ name }) => [name, values[name] ?? null])) };
    } finally {
      gaveUp.abort();
    }
  }

  async #apply({ run, step }: Apply, signal: AbortSignal): Promise<void> {
    const plan = run.state === "rolling_back" ? run.rollback?.plan : run.plan;
    const action = plan == null ? null : actionNamed(plan.action);
    if (action === null) throw new Error(`run ${run.run_id}: there is no action ${plan?.action}`);
    const settled = Promise.withResolvers<void>();
    settled.promise.catch(() => undefined);
    const ports: ActionPorts = {
      invoke: (asked, until) => this.#invoke({ run, step: asked, settled: settled.promise }, until),
    };
    try {
      const outcome = await action.apply(step, ports, signal);
      await this.take({ kind: "step_ended", runId: run.run_id, outcome });
      settled.resolve();
    } catch (thrown) {
      const isGivenUp = signal.aborted && !this.#ended.signal.aborted;
      if (isGivenUp) return settled.resolve();
      settled.reject(thrown);
      throw thrown;
    } finally {
      this.#waiters.delete(step.idempotency_key);
    }
  }

  async #invoke(
    { run, step, settled }: { readonly run: RemediationRun; readonly step: Step; readonly settled: Promise<void> },
    signal: AbortSignal,
  ): Promise<CommandResult> {
    signal.throwIfAborted();
    const answer = Promise.withResolvers<CommandResult>();
    answer.promise.catch(() => undefined);
    const onAbort = () => answer.reject(new Error(`nobody waits for ${step.idempotency_key} any more`));
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiters.set(step.idempotency_key, { host: step.host, resolve: answer.resolve, settled });
    try {
      const dispatch = dispatchFor({ run, step, sites: this.#sharesOf(step.host) }, this.#ports);
      const value = Buffer.from(JSON.stringify(dispatch));
      await this.#ports.bus.publish([{ topic: "agent.commands", key: step.idempotency_key, value }]);
      return await answer.promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * This host, and all of its site that are being changed at this moment, by other runs and by others than this engine, of those that were
   * heard of there: many small changes must not come to more than one large one. Where no site is known, an agent with a limit for its
   * site refuses it.
   */
  #sharesOf(host: string): SiteShares {
    const siteOf = (one: string): string => this.#sites.get(one) ?? "";
    const site = siteOf(host);
    if (site === "") return { default: { targeted: 1, of: 1 } };
    const of = [...this.#sites.values()].filter((other) => other === site).length;
    const ours = new Set(
      [...this.#waiters.values()].map((waiter) => waiter.host).filter((one) => siteOf(one) === site),
    );
    const others = this.#ports.changingAt?.(site) ?? 0;
    return { [site]: { targeted: Math.min(of, ours.add(host).size + others), of } };
  }

  async #deliver({ notification }: Extract<Effect, { kind: "deliver" }>, signal: AbortSignal): Promise<Delivery> {
    const receiver = this.#ports.config.receivers.find(({ name }) => name === notification.receiver);
    if (receiver === undefined) {
      const error = `the configuration has no receiver ${notification.receiver} any more`;
      return { ok: false, isFinal: true, error, retryAfterMs: null };
    }
    const message = notification.payload as unknown as AlertmanagerPayload;
    return webhook.send(message, receiver, { deliveryId: notification.delivery_id, signal });
  }

  // ── what comes in

  #open(partition: AssignedPartition) {
    if (partition.topic === "agent.heartbeats") {
      // Compacted: its beginning is every host's last word. Nothing is committed, so that each term begins with it.
      return {
        startOffset: partition.earliestOffset,
        receive: async (messages: readonly BusMessage[]) => this.#hearBeats(messages),
      };
    }
    const receive = partition.topic === "detect.findings" ? this.#receiveFindings : this.#receiveResults;
    return {
      startOffset: Math.max(partition.committed?.offset ?? 0, partition.earliestOffset),
      receive: async (messages: readonly BusMessage[]) => {
        await receive.call(this, messages);
        const last = messages.at(-1);
        if (last !== undefined) await partition.commit(last.offset + 1);
      },
    };
  }

  #decode<T>(message: BusMessage, record: z.ZodType<T>): T | null {
    try {
      return record.parse(JSON.parse(Buffer.from(message.value ?? []).toString("utf8")));
    } catch (thrown) {
      this.malformed += 1;
      const { topic, partition, offset } = message;
      this.#ports.log.warn(
        { topic, partition, offset, problem: errorText(thrown).slice(0, 300) },
        "a message cannot be read and is skipped",
      );
      return null;
    }
  }

  async #receiveFindings(messages: readonly BusMessage[]): Promise<void> {
    const findings: HeardFinding[] = [];
    for (const message of messages) {
      const finding = this.#decode(message, Finding);
      if (finding === null) continue;
      findings.push({ finding, heardAtUnixMs: message.timestampUnixMs });
      if (finding.state === "firing") setCapped(this.#heard, finding.finding_id, message.timestampUnixMs, HEARD_MAX);
    }
    if (findings.length > 0) await this.take({ kind: "findings", findings });
  }

  async #receiveResults(messages: readonly BusMessage[]): Promise<void> {
    for (const message of messages) {
      const result = this.#decode(message, CommandResult);
      const waiter = result === null ? undefined : this.#waiters.get(result.command_id);
      if (result === null || waiter === undefined || outcomeOf(result) === null) continue;
      waiter.resolve(result);
      await waiter.settled;
    }
  }

  #hearBeats(messages: readonly BusMessage[]): void {
    for (const message of messages) {
      if (message.value === null) continue;
      const beat = this.#decode(message, Heartbeat);
      if (beat === null) continue;
      setCapped(this.#heartbeats, beat.host, { atUnixMs: beat.at_unix_ms, state: beat.state }, HOSTS_MAX);
      setCapped(this.#sites, beat.host, beat.site, HOSTS_MAX);
    }
  }
}
