import type { KeyObject } from "node:crypto";
import {
  AgentOrder,
  type AssignedPartition,
  type Bus,
  type BusMessage,
  CommandResult,
  Heartbeat,
  hasEnded,
  Job,
  type Log,
  type OutgoingMessage,
  orderDistrust,
  Progress,
  type Risk,
} from "@homeostat/schemas";
import type { z } from "zod";
import { acceptHandshake } from "../channel/sealed.ts";
import { Acks } from "./acks.ts";
import { AgentMessages } from "./agent-messages.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import type { ControlConfig } from "./control-config.ts";
import { Dispatcher, type Reach, type Standing } from "./dispatcher.ts";
import { type FollowedTopic, followTopic } from "./follow-topic.ts";
import type { Identities } from "./identity/identities.ts";
import { Followers } from "./jobs/followers.ts";
import { JobBook } from "./jobs/job-book.ts";
import { dispatchNumberOf } from "./jobs/job-run.ts";
import { Jobs } from "./jobs/jobs.ts";
import { LeaseFence } from "./lease-fence.ts";
import { PublishLane } from "./publish-lane.ts";
import { jsonOf, readTopic } from "./read-topic.ts";
import { RecordAges } from "./record-ages.ts";
import type { RecordProof } from "./record-proof.ts";
import { Registry } from "./registry.ts";
import { Results } from "./results.ts";
import { Sessions } from "./sessions.ts";
import { pause, type Timers } from "./timers.ts";
import type { RawSession } from "./uplinks.ts";

export const WRITER_HEADER = "writer";
const RETRY_MS = 1_000;
const TICK_MS = 500;
/** Of a large fleet a heartbeat comes every few milliseconds, and nobody waits for it to be durable. */
const BEATS_GATHERED_MS = 250;
/** How far back a new term looks for ends that were audited and not written: more than one publish takes. */
const AUDIT_TAIL = 1_000;

export interface TermPorts {
  readonly bus: Bus;
  readonly config: ControlConfig;
  readonly signingKey: KeyObject;
  /** Whose orders on the bus are brought to hosts: its own and those of others who may command. Public halves. */
  readonly trustedKeys: readonly KeyObject[];
  readonly proof: RecordProof;
  readonly authorities: readonly string[];
  readonly identities: Identities;
  readonly audit: AuditLog;
  readonly now: () => number;
  readonly log: Log;
  readonly newId: () => string;
  readonly timers: Timers;
  /** The risk of an executor that a published plugin brings. */
  readonly published: (executor: string) => Risk | null;
  /** A session of this agent has begun, or its labels are others. */
  onAgent(host: string): void;
}

const ackText = (command_ids: readonly string[]): string => JSON.stringify({ type: "ack", command_ids });

/**
 * One term of leadership: from what the bus holds to the end of the lease. It begins when everything that is there has been read, and
 * ends at the first doubt whether a write took place.
 */
export class Term {
  readonly writer: string;
  readonly sinceUnixMs: number;
  readonly registry: Registry;
  readonly sessions: Sessions;
  readonly dispatcher: Dispatcher;
  readonly book = new JobBook();
  readonly jobs: Jobs;
  readonly followers: Followers;
  readonly turnedAway = new Map<string, number>();
  lastError: string | null = null;
  readonly #ports: TermPorts;
  readonly #fence: LeaseFence;
  readonly #onDoubt: () => void;
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #recordsLane: PublishLane;
  readonly #resultsLane: PublishLane;
  readonly #endsLane: PublishLane;
  readonly #beatsLane: PublishLane;
  readonly #results: Results;
  readonly #acks: Acks;
  readonly #messages: AgentMessages;
  readonly #forgotten: string[] = [];
  readonly #jobAges = new RecordAges();
  /** Jobs whose end the term before has audited, and perhaps not written any more. */
  readonly #auditedEnds = new Map<string, string>();
  readonly #followed: FollowedTopic[] = [];
  #commands: FollowedTopic | null = null;
  #told: FollowedTopic | null = null;
  #cancelTick: () => void = () => undefined;
  #committing: Promise<void> = Promise.resolve();

  constructor(
    ports: TermPorts,
    at: { readonly lease: AssignedPartition; readonly signal: AbortSignal; readonly onDoubt: () => void },
  ) {
    this.#ports = ports;
    this.#onDoubt = at.onDoubt;
    this.#signal = AbortSignal.any([at.signal, this.#ended.signal]);
    this.#fence = new LeaseFence({ lease: at.lease, signal: this.#signal, now: ports.now });
    this.writer = ports.newId();
    this.sinceUnixMs = ports.now();
    this.#headers = { [WRITER_HEADER]: this.writer };
    const { bus, now, config } = ports;
    const fence = () => this.#fence.pass();
    this.#recordsLane = new PublishLane(bus, fence);
    this.#resultsLane = new PublishLane(bus);
    this.#endsLane = new PublishLane(bus, fence);
    this.#beatsLane = new PublishLane(bus, () => pause(BEATS_GATHERED_MS, this.#signal, ports.timers));
    this.followers = new Followers(ports.log);
    this.registry = new Registry({ now, offlineAfterMs: config.offline_after_ms });
    this.sessions = new Sessions(this.#sessionPorts());
    this.#acks = new Acks({
      timers: ports.timers,
      tell: (host, commandIds) => this.sessions.send(host, ackText(commandIds)),
    });
    this.#results = new Results(this.#resultPorts());
    this.dispatcher = new Dispatcher({
      now,
      lostGraceMs: config.lost_grace_ms,
      reach: (host) => this.#reach(host),
      hasRoom: (host) => this.sessions.hasRoom(host),
      send: (host, message) => {
        const held = this.#acks.take(host);
        return held === null ? this.sessions.send(host, message) : this.sessions.send(host, ackText(held), message);
      },
      conclude: (result) => this.#results.concluded(result),
      onState: (...change) => this.jobs.changed(...change),
    });
    this.jobs = this.#makeJobs();
    this.#messages = new AgentMessages({
      ...ports,
      results: this.#results,
      jobs: this.jobs,
      registry: this.registry,
      acks: this.#acks,
      beatsLane: this.#beatsLane,
      headers: this.#headers,
      send: (host, message) => this.sessions.send(host, message),
      count: (reason) => this.count(reason),
      fail: (message, thrown) => this.fail(message, thrown),
    });
  }

  /** Resolves when all that the bus holds is known. Nothing is sent before `resume`. */
  async start(): Promise<void> {
    const { audit, identities, bus, log, newId } = this.#ports;
    const onDoubt = (thrown: unknown) => this.doubt(thrown);
    const newest = await audit.begin({ fence: () => this.#fence.pass(), onDoubt, signal: this.#signal });
    for (const { what, subject, details } of await audit.read(newest - AUDIT_TAIL + 1, AUDIT_TAIL))
      if (what === "job.ended") this.#auditedEnds.set(subject, JSON.stringify([details.state, details.counts]));
    for (const identity of identities.agents()) this.registry.identified(identity);
    const jobs = { topic: "agent.jobs", group: `control-jobs-${newId()}`, from: 0, signal: this.#signal, log };
    await readTopic(bus, { ...jobs, take: (message) => this.#loadJob(message) });
    this.#commands = await this.#follow("agent.commands", "committed", (message, isReplay) =>
      this.#heardOrder(message, isReplay),
    );
    for (const { job } of this.book.live())
      if (job.state !== "awaiting_approval") this.book.began(job.job_id, { commands: 0, results: 0 });
    this.#told = await this.#follow("agent.results", "committed", (message) => this.#heardResult(message));
    await this.#follow("agent.heartbeats", "earliest", (message) => this.#heardBeat(message));
    await this.#follow("agent.progress", "end", (message) => this.#heardProgress(message));
  }

  /** Effects begin. */
  resume(): void {
    this.jobs.resume(this.#forgotten.splice(0), this.#jobAges.repeated());
    this.#tick();
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    this.#cancelTick();
    this.sessions.stop("this control plane does not lead any more");
    await this.#committing;
    await this.jobs.idle();
    this.followers.leave("this control plane does not lead any more; the job goes on under another");
    await Promise.all([
      this.#resultsLane.idle(),
      this.#endsLane.idle(),
      this.#beatsLane.idle(),
      this.#ports.audit.end(),
    ]);
    for (const followed of this.#followed.reverse()) await followed.stop();
  }

  doubt(thrown: unknown): void {
    if (this.#ended.signal.aborted) return;
    this.fail("what is on the bus is in doubt: the term ends, and the next begins with what is there", thrown);
    this.#onDoubt();
  }

  /** False, and counted, for what somebody else has put on the bus. */
  isByControl(message: BusMessage): boolean {
    if (this.#ports.proof.holds(message)) return true;
    const { topic, offset, key } = message;
    this.count(`unproved ${topic}`);
    this.#ports.log.error({ topic, offset, key }, "a record that no control has written does not count");
    return false;
  }

  fail(message: string, thrown: unknown): void {
    if (this.#ended.signal.aborted) return;
    this.lastError = `${message}: ${thrown instanceof Error ? thrown.message : String(thrown)}`.slice(0, 500);
    this.#ports.log.warn({ err: thrown }, message);
  }

  count(reason: string): void {
    this.turnedAway.set(reason, (this.turnedAway.get(reason) ?? 0) + 1);
  }

  /** Who a host is has changed: what it may be sent, and whether its session may stand. */
  identityChanged(host: string): void {
    this.sessions.recheck(host);
    const identity = this.#ports.identities.get(host);
    if (identity === null) return;
    this.registry.identified(identity);
    if (identity.state === "active") this.dispatcher.goOn(host);
  }

  #makeJobs(): Jobs {
    const { config, signingKey, now, newId, audit } = this.#ports;
    const marked = (message: OutgoingMessage): OutgoingMessage => ({ ...message, headers: this.#headers });
    return new Jobs({
      book: this.book,
      dispatcher: this.dispatcher,
      agents: this.registry,
      followers: this.followers,
      audit,
      isEndAudited: (jobId, end) => {
        const audited = this.#auditedEnds.get(jobId);
        return audited !== undefined && (end === undefined || audited === JSON.stringify([end.state, end.counts]));
      },
      config: config.policy,
      published: this.#ports.published,
      signingKey,
      marked,
      proved: (message) => this.#ports.proof.prove(marked(message), this.#jobAges.next()),
      publish: (message) => this.#recordsLane.push(message),
      standing: () => this.#standing(),
      isOnBus: (host) => this.#reach(host) === "bus",
      onDoubt: (thrown) => this.doubt(thrown),
      now,
      newId,
    });
  }

  // ── sessions

  #sessionPorts(): ConstructorParameters<typeof Sessions>[0] {
    const { signingKey, authorities, identities, now, log } = this.#ports;
    return {
      accept: (hello) =>
        acceptHandshake(hello, {
          signingKey,
          authorities,
          now: now(),
          mayConnect: (host, serial) => identities.mayConnect(host, serial),
        }),
      mayConnect: (host, serial) => identities.mayConnect(host, serial),
      onConfirmed: (host, { server }) => {
        this.registry.connected(host, { server });
        this.#acks.gone(host);
        this.dispatcher.connected(host);
        this.#ports.onAgent(host);
      },
      onGone: (host) => {
        this.registry.disconnected(host);
        this.#acks.gone(host);
      },
      onMessage: (host, message) => this.#messages.heard(host, message),
      onRoom: (host) => this.dispatcher.goOn(host),
      count: (reason) => this.count(reason),
      log,
    };
  }

  up(raw: RawSession): void {
    this.sessions.up(raw);
  }

  drained(way: string): void {
    this.sessions.drained(way);
  }

  #reach(host: string): Reach {
    const identity = this.#ports.identities.get(host);
    if (identity === null) return "bus";
    return identity.state === "active" ? "channel" : "barred";
  }

  // ── results

  #resultPorts(): ConstructorParameters<typeof Results>[0] {
    const { timers } = this.#ports;
    return {
      heardLane: this.#resultsLane,
      concludedLane: this.#endsLane,
      prove: (message) => this.#ports.proof.prove({ ...message, headers: this.#headers }),
      isKnown: ({ command_id, host, state }) => {
        if (this.dispatcher.isOpen(command_id, host)) return false;
        const known = this.book.stateOf(command_id, host);
        return known !== null && hasEnded(known) && (known !== "lost" || state === "lost");
      },
      settled: (result) => this.jobs.settled(result),
      endWith: (result, record) => this.jobs.endWith(result, record),
      amending: ({ command_id }) => this.jobs.amending(command_id),
      acknowledge: (host, commandIds) => this.#acks.add(host, commandIds),
      count: (reason) => this.count(reason),
      pause: async () => {
        await pause(RETRY_MS, this.#signal, timers);
        this.#signal.throwIfAborted();
      },
      fail: (message, thrown) => this.fail(message, thrown),
    };
  }

  // ── what the bus says

  async #follow(
    topic: string,
    from: "committed" | "earliest" | "end",
    take: (message: BusMessage, isReplay: boolean) => void,
  ): Promise<FollowedTopic> {
    const { bus, log } = this.#ports;
    const followed = await followTopic(bus, {
      topic,
      group: `control-${topic.replace("agent.", "")}`,
      from,
      take,
      signal: this.#signal,
      log,
      onLost: () => this.doubt(new Error(`${topic} was taken away`)),
    });
    this.#followed.push(followed);
    return followed;
  }

  /** Only what a control has written: a job that somebody else puts there would be signed for them. */
  #loadJob(message: BusMessage): boolean {
    const { key, value, offset } = message;
    if (!this.isByControl(message)) return true;
    if (!this.#jobAges.admit(message)) {
      this.count("repeated agent.jobs");
      return true;
    }
    const parsed = value === null ? null : Job.safeParse(jsonOf(value));
    if (parsed === null) this.book.drop(key ?? "");
    else if (parsed.success) this.#forgotten.push(...this.book.load(parsed.data));
    else this.#unreadable("agent.jobs", offset, parsed.error);
    return true;
  }

  #heardOrder(message: BusMessage, isReplay: boolean): void {
    if (message.headers[WRITER_HEADER] === this.writer || message.value === null) return;
    const order = this.#decode(message, AgentOrder);
    if (order === null) return;
    const distrust = orderDistrust(order, this.#ports.trustedKeys);
    if (distrust !== null) {
      this.count("unsigned agent.commands");
      this.#ports.log.error({ offset: message.offset, distrust }, "an order on the bus is not ours: nobody is sent it");
      return;
    }
    if ("cancel" in order) {
      const named = this.book.runOf(order.cancel.command_id);
      named?.run.cancelSent(named.number);
      this.dispatcher.cancel(order);
      return;
    }
    const { command_id } = order.signed.grant;
    if (this.book.isOver(command_id)) return;
    const standing = { commands: message.offset, results: this.#told?.position ?? 0 };
    const named = dispatchNumberOf(command_id);
    const run = named === null ? null : this.book.liveRun(named.jobId);
    if (run === null || named === null) {
      this.book.others.began(order);
      this.dispatcher.take(order, { standing, mayBeHandedOut: isReplay, isJobs: false });
      return;
    }
    if (!isReplay) {
      this.doubt(new Error(`somebody else sent ${command_id}`));
      return;
    }
    if (run.dispatched(named.number, order.hosts)) {
      this.dispatcher.take(order, { standing, mayBeHandedOut: true, isJobs: true });
      return;
    }
    if (named.number >= run.dispatches) this.count("dispatch_out_of_order");
  }

  #heardResult(message: BusMessage): void {
    if (message.headers[WRITER_HEADER] === this.writer || message.value === null) return;
    const result = this.#decode(message, CommandResult);
    if (result === null) return;
    // A host with an identity tells control, which puts it on the bus: nobody else speaks for it there.
    if (this.#reach(result.host) === "bus" || this.isByControl(message)) this.jobs.settled(result);
  }

  #heardBeat(message: BusMessage): void {
    if (message.headers[WRITER_HEADER] === this.writer || message.value === null) return;
    const beat = this.#decode(message, Heartbeat);
    if (beat !== null && this.registry.heard(beat, "on the bus")) this.#ports.onAgent(beat.host);
  }

  #heardProgress(message: BusMessage): void {
    const progress = message.value === null ? null : this.#decode(message, Progress);
    if (progress !== null) this.jobs.progressed(progress);
  }

  #decode<T>(message: BusMessage, record: z.ZodType<T>): T | null {
    const parsed = record.safeParse(jsonOf(message.value));
    if (parsed.success) return parsed.data;
    this.#unreadable(message.topic, message.offset, parsed.error);
    return null;
  }

  #unreadable(topic: string, offset: number, error: z.ZodError): void {
    this.count(`malformed ${topic}`);
    const problem = error.message.slice(0, 300);
    this.#ports.log.warn({ topic, offset, problem }, "a message cannot be read and is skipped");
  }

  // ── time

  #standing(): Standing {
    return { commands: this.#commands?.position ?? 0, results: this.#told?.position ?? 0 };
  }

  #tick(): void {
    if (this.#signal.aborted) return;
    this.dispatcher.tick();
    this.jobs.tick();
    this.#committing = this.#committing.then(() => this.#commit());
    this.#cancelTick = this.#ports.timers.after(TICK_MS, () => this.#tick());
  }

  /**
   * Where the next term begins to read: at what the oldest job or command that is still open began with. Commands first: a result that
   * is read once more changes nothing, a command whose result is not read would look open.
   */
  async #commit(): Promise<void> {
    const oldest = [this.dispatcher.oldest(), this.book.oldest(), this.#standing()].filter(
      (standing) => standing !== null,
    );
    try {
      await this.#commands?.commit(Math.min(...oldest.map(({ commands }) => commands)));
      await this.#told?.commit(Math.min(...oldest.map(({ results }) => results)));
    } catch (thrown) {
      this.fail("an offset could not be committed", thrown);
    }
  }
}
