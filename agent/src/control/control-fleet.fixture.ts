import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from "node:crypto";
import { join } from "node:path";
import { duplexPair } from "node:stream";
import {
  type AgentIdentity,
  type Bus,
  type CommandResult,
  type Consumer,
  type Heartbeat,
  type InvocationState,
  identityKey,
  type Log,
  type OutgoingMessage,
  verifyCancel,
  verifyCommand,
} from "@homeostat/schemas";
import { Connection, type ConnectionOwner } from "../channel/connection.ts";
import { FRAME, FRAME_BYTES_MAX, jsonBody, u32 } from "../channel/frame.ts";
import { type FromAgent, saidToAgent, ToAgent } from "../channel/messages.ts";
import { type AgentHandshake, beginHandshake, type SealedSession } from "../channel/sealed.ts";
import { type Control, type ControlOptions, createControl } from "./control.ts";
import { ControlConfig } from "./control-config.ts";
import type { Authority } from "./identity/authority.ts";
import { createRecordProof } from "./record-proof.ts";
import type { Timers } from "./timers.ts";
import type { Principal } from "./views.ts";

export const ann: Principal = { name: "ann", roles: ["operator"] };
export const bob: Principal = { name: "bob", roles: ["operator", "approver"] };
export const eve: Principal = { name: "eve", roles: ["viewer"] };

/** Time that moves only when it is told to. */
export class VirtualTime implements Timers {
  #now: number;
  #timers: { readonly at: number; readonly run: () => void }[] = [];

  constructor(now: number) {
    this.#now = now;
  }

  readonly now = (): number => this.#now;

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Runs what is due on the way, in order, and lets it come to rest in between. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
      for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#now = end;
  }
}

/** Resolves as soon as it holds; looks at every turn of the event loop. The test's own time limit ends what never comes. */
export const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
};

const runsOfTopics = (messages: readonly OutgoingMessage[]): OutgoingMessage[][] => {
  const runs: OutgoingMessage[][] = [];
  for (const message of messages) {
    const last = runs.at(-1);
    if (last?.[0]?.topic === message.topic) last.push(message);
    else runs.push([message]);
  }
  return runs;
};

/** One life of a process on the bus: once killed, nothing that it does has an effect, and its partitions are free. */
export class Life {
  readonly bus: Bus;
  isDead = false;
  publishes = 0;
  /** Dies right after this many more publishes have become durable, before it hears of the last. */
  publishesLeft = Number.POSITIVE_INFINITY;
  /** What is published in order is taken one topic after the other, as by a broker, and it may die in between. */
  partsTopics = false;
  /** Its partitions belong to others, and it has not been told. */
  loseCommits = false;
  readonly #consumers = new Set<Consumer>();

  constructor(inner: Bus) {
    const alive = (): void => {
      if (this.isDead) throw new Error("killed");
    };
    this.bus = {
      publish: async (messages, options) => {
        alive();
        const isParted = this.partsTopics && options?.inOrder === true;
        for (const part of isParted ? runsOfTopics(messages) : [messages]) {
          await inner.publish(part, options);
          this.publishes += 1;
          this.publishesLeft -= 1;
          if (this.publishesLeft <= 0) this.isDead = true;
          alive();
        }
      },
      consume: async (options) => {
        alive();
        const consumer = await inner.consume({
          ...options,
          open: async (partition) => {
            alive();
            const commit = async (offset: number, metadata?: string) => {
              alive();
              if (this.loseCommits) throw new Error("not_owner");
              await partition.commit(offset, metadata);
            };
            const handler = await options.open({ ...partition, commit });
            return {
              startOffset: handler.startOffset,
              receive: async (messages, end) => {
                alive();
                await handler.receive(messages, end);
              },
              close: async () => handler.close?.(),
            };
          },
        });
        this.#consumers.add(consumer);
        return {
          stop: async () => {
            this.#consumers.delete(consumer);
            await consumer.stop();
          },
        };
      },
      lag: (group, topic) => inner.lag(group, topic),
      stop: async () => undefined,
    };
  }

  async kill(): Promise<void> {
    this.isDead = true;
    await Promise.all([...this.#consumers].map((consumer) => consumer.stop()));
  }
}

/** What an agent does with a command: an end, or null to say nothing yet. */
export type Deed = (host: string, commandId: string) => InvocationState | null;

/** An agent as control meets it: a journal, results that are told until they are acknowledged, and sealed messages. */
export class FakeAgent {
  readonly host: string;
  readonly privateKey: KeyObject;
  readonly certificatePem: string;
  /** command_id → how often it was done; more than once would be wrong. */
  readonly runs = new Map<string, number>();
  readonly journal = new Map<string, CommandResult | null>();
  readonly unacknowledged = new Map<string, CommandResult>();
  readonly heard: ToAgent[] = [];
  deed: Deed = () => "succeeded";
  /** The number of its newest session: the end of an older one means nothing to it. */
  session = 0;
  #control: readonly KeyObject[];
  #handshake: AgentHandshake | null = null;
  #sealed: SealedSession | null = null;
  #send: ((type: number, bytes: Uint8Array) => void) | null = null;

  constructor(host: string, keys: { privateKey: KeyObject; certificatePem: string; control: readonly KeyObject[] }) {
    this.host = host;
    this.privateKey = keys.privateKey;
    this.certificatePem = keys.certificatePem;
    this.#control = keys.control;
  }

  get isSealed(): boolean {
    return this.#sealed !== null;
  }

  up(send: (type: number, bytes: Uint8Array) => void, now: number): void {
    this.#send = send;
    this.#sealed = null;
    this.#handshake = beginHandshake(this, now);
    send(FRAME.handshake, this.#handshake.hello);
  }

  down(): void {
    this.#send = null;
    this.#sealed = null;
  }

  frame(type: number, bytes: Buffer, beat: Heartbeat): void {
    if (type === FRAME.handshake && this.#handshake !== null) {
      this.#sealed = this.#handshake.finish(bytes, this.#control);
      this.say({ type: "heartbeat", heartbeat: beat });
      for (const result of this.unacknowledged.values()) this.say({ type: "result", result });
    } else if (this.#sealed !== null)
      for (const said of saidToAgent(JSON.parse(this.#sealed.open(bytes).toString())) ?? [])
        this.#hear(ToAgent.parse(said));
  }

  say(message: FromAgent): void {
    if (this.#sealed === null || this.#send === null) return;
    this.#send(FRAME.sealed, this.#sealed.seal(Buffer.from(JSON.stringify(message))));
  }

  /** Bytes that no key has sealed. */
  babble(): void {
    this.#send?.(FRAME.sealed, Buffer.alloc(64));
  }

  /** What was said nothing of so far comes to this end. */
  finish(commandId: string, state: InvocationState): void {
    const result: CommandResult = {
      command_id: commandId,
      host: this.host,
      executor: "service.restart",
      state,
      exit_code: state === "succeeded" ? 0 : null,
      stdout: `${this.host} did it`,
      stderr: "",
      output_truncated: false,
      started_at_unix_ms: null,
      ended_at_unix_ms: null,
      message: "",
    };
    this.journal.set(commandId, result);
    this.unacknowledged.set(commandId, result);
    this.say({ type: "result", result });
  }

  #hear(message: ToAgent): void {
    this.heard.push(message);
    if (message.type === "ack") for (const id of message.command_ids) this.unacknowledged.delete(id);
    if (message.type === "command") this.#obey(message.command);
    if (message.type !== "cancel") return;
    const verified = verifyCancel(message.cancel, { host: this.host, trustedKeys: this.#control });
    if ("refused" in verified) throw new Error(verified.refused);
    const { command_id } = verified.cancel;
    if ((this.journal.get(command_id) ?? null) === null) this.finish(command_id, "cancelled");
  }

  #obey(command: unknown): void {
    const verified = verifyCommand(command, { host: this.host, trustedKeys: this.#control });
    if ("refused" in verified) throw new Error(verified.refused);
    const { command_id } = verified.grant;
    const known = this.journal.get(command_id);
    if (known !== undefined) {
      if (known === null) return;
      this.unacknowledged.set(command_id, known);
      this.say({ type: "result", result: known });
      return;
    }
    this.journal.set(command_id, null);
    this.runs.set(command_id, (this.runs.get(command_id) ?? 0) + 1);
    const state = this.deed(this.host, command_id);
    if (state !== null) this.finish(command_id, state);
  }
}

/** A site server that carries frames between the agents of this process and a control plane. */
class FakeSite implements ConnectionOwner {
  readonly frameBytesMax = FRAME_BYTES_MAX;
  readonly queueBytesMax = 64 * 1_048_576;
  readonly connection: Connection;
  readonly #agents = new Map<number, FakeAgent>();
  readonly #fleet: Fleet;
  #next = 1;

  constructor(control: Control, fleet: Fleet, name: { readonly site: string; readonly server: string }) {
    this.#fleet = fleet;
    const [ours, theirs] = duplexPair();
    this.connection = new Connection(ours, this);
    control.attach(theirs);
    this.connection.send(FRAME.hello, jsonBody({ protocol: 1, ...name }));
  }

  up(agent: FakeAgent): number {
    const session = this.#next;
    this.#next += 1;
    this.#agents.set(session, agent);
    agent.session = session;
    this.connection.send(FRAME.agentUp, u32(session), jsonBody({ host: agent.host, address: "test" }));
    agent.up((type, bytes) => this.connection.send(type, u32(session), bytes), this.#fleet.time.now());
    return session;
  }

  down(session: number): void {
    this.#agents.get(session)?.down();
    this.#agents.delete(session);
    this.connection.send(FRAME.agentDown, u32(session));
  }

  onFrame(type: number, body: Buffer): void {
    if (type !== FRAME.sealed && type !== FRAME.handshake && type !== FRAME.close) return;
    const session = body.readUInt32BE(0);
    const agent = this.#agents.get(session);
    if (agent === undefined) return;
    if (type !== FRAME.close) agent.frame(type, body.subarray(4), this.#fleet.beatOf(agent.host));
    else {
      this.#agents.delete(session);
      if (agent.session === session) agent.down();
      this.#fleet.closed.push({ host: agent.host, reason: body.subarray(4).toString() });
    }
  }

  onClose(): void {
    for (const agent of this.#agents.values()) agent.down();
    this.#agents.clear();
  }
}

export interface Member {
  readonly control: Control;
  readonly life: Life;
  site: FakeSite | null;
}

/** Agents with identities, a control plane, and the bus that outlives it. */
export class Fleet {
  readonly time: VirtualTime;
  readonly agents = new Map<string, FakeAgent>();
  readonly labels = new Map<string, Heartbeat["labels"]>();
  readonly closed: { readonly host: string; readonly reason: string }[] = [];
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly #bus: Bus;
  readonly #dir: string;
  readonly #log: Log;
  readonly #config: unknown;
  #ids = 0;

  constructor(options: {
    readonly bus: Bus;
    readonly dir: string;
    readonly log: Log;
    readonly config?: unknown;
    readonly keys?: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  }) {
    this.keys = options.keys ?? generateKeyPairSync("ed25519");
    this.#bus = options.bus;
    this.#dir = options.dir;
    this.#log = options.log;
    this.#config = options.config ?? {};
    this.time = new VirtualTime(Date.now());
  }

  /** As control would have written it. */
  proved(message: OutgoingMessage): OutgoingMessage {
    return createRecordProof(join(this.#dir, "authority")).prove(message);
  }

  /** A control plane that stands for the lease; wait for it with `lead`. */
  async member(more: Partial<ControlOptions> = {}): Promise<Member> {
    const life = new Life(this.#bus);
    const control = createControl({
      bus: life.bus,
      config: ControlConfig.parse(this.#config),
      dataDir: this.#dir,
      signingKey: this.keys.privateKey,
      now: this.time.now,
      log: this.#log,
      newId: () => {
        this.#ids += 1;
        return `id-${this.#ids}`;
      },
      timers: this.time,
      ...more,
    });
    await control.start();
    return { control, life, site: null };
  }

  /** Resolves when it leads, a site server is there, and all agents have sealed sessions. */
  async lead(member: Member): Promise<Control> {
    await member.control.leads(new AbortController().signal);
    this.#reconnect(member);
    await until(() => member.life.isDead || member.control.health().sessions === this.agents.size);
    return member.control;
  }

  #reconnect(member: Member): void {
    member.site = new FakeSite(member.control, this, { site: "dc1", server: "s1" });
    for (const agent of this.agents.values()) member.site.up(agent);
  }

  async enrol(member: Pick<Member, "control">, hosts: readonly string[]): Promise<void> {
    const { authority } = member.control;
    if (authority === null) throw new Error("the control plane has not been started");
    for (const host of hosts) {
      const agent = await makeAgent(host, authority, [createPublicKey(this.keys.privateKey)]);
      this.agents.set(host, agent);
      await this.#bus.publish([this.proved(identityMessage(agent, this.time.now()))]);
    }
    await until(() =>
      hosts.every((host) => member.control.identities === null || member.control.identities.get(host) !== null),
    );
  }

  beatOf(host: string): Heartbeat {
    return {
      host,
      agent_version: "1.0.0",
      state: "online",
      problems: [],
      at_unix_ms: this.time.now(),
      started_at_unix_ms: this.time.now(),
      ledger: { produced: 0, delivered: 0, spooled: 0, dropped: {} },
      topics: {},
      checkpoints: [],
      spool_bytes: 0,
      site: "dc1",
      labels: this.labels.get(host) ?? {},
      plugins: [],
      clock_skew_ms: 0,
    };
  }

  async kill({ control, life, site }: Member): Promise<void> {
    await life.kill();
    site?.connection.destroy("killed");
    await control.stop();
  }
}

const makeAgent = async (host: string, authority: Authority, control: readonly KeyObject[]): Promise<FakeAgent> => {
  const identity = await authority.identityFor({ kind: "agent", site: "dc1", name: host });
  const privateKey = createPrivateKey(identity.privateKeyPem);
  return new FakeAgent(host, { privateKey, certificatePem: identity.certificatePem, control });
};

const identityMessage = ({ host, certificatePem }: FakeAgent, now: number): OutgoingMessage => {
  const { serialNumber, publicKey } = new X509Certificate(certificatePem);
  const identity: AgentIdentity = {
    kind: "agent",
    host,
    site: "dc1",
    state: "active",
    certificates: [
      {
        serial: serialNumber.toLowerCase().replace(/^0+/, ""),
        not_before_unix_ms: now - 60_000,
        not_after_unix_ms: now + 86_400_000,
        spki_sha256: createHash("sha256")
          .update(publicKey.export({ type: "spki", format: "der" }))
          .digest("hex"),
      },
    ],
    withdrawn: [],
    token_id: "",
    enrolled_at_unix_ms: now,
    changed_at_unix_ms: now,
    changed_by: "test",
    reason: "",
  };
  return { topic: "agent.identities", key: identityKey(identity), value: Buffer.from(JSON.stringify(identity)) };
};
