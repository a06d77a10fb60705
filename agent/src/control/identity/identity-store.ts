import {
  type AgentIdentity,
  type Bus,
  type BusMessage,
  type Consumer,
  type EnrolmentToken,
  IdentityRecord,
  identityKey,
  type Log,
  tokenKey,
} from "@homeostat/schemas";
import { RecordAges } from "../record-ages.ts";
import { createRecordProof, type RecordProof } from "../record-proof.ts";
import { Barred } from "./barred.ts";

const TOPIC = "agent.identities";
const WRITER_HEADER = "writer";

export interface IdentityStorePorts {
  readonly bus: Bus;
  /** Of control's secrets: the key that its records are proved with, and who is shut out. */
  readonly dir: string;
  readonly log: Log;
  readonly newId: () => string;
}

/** What to write under a key; null takes it away. */
export interface IdentityWrite {
  readonly key: string;
  readonly record: IdentityRecord | null;
}

export const writeOf = (record: IdentityRecord): IdentityWrite => ({
  key: record.kind === "token" ? tokenKey(record.id) : identityKey(record),
  record,
});

const decode = ({ key, value }: BusMessage): IdentityRecord | null => {
  try {
    const record = IdentityRecord.parse(JSON.parse(Buffer.from(value ?? []).toString("utf8")));
    return writeOf(record).key === key ? record : null;
  } catch {
    return null;
  }
};

/**
 * The topic `agent.identities` in memory: the last record of a key that a control has written is its truth. Every control reads all of it;
 * what this one writes counts once it is durable, without waiting to be read back.
 */
export class IdentityStore {
  readonly #ports: IdentityStorePorts;
  readonly #writer: string;
  readonly #proof: RecordProof;
  readonly #barred: Barred;
  readonly #ages = new RecordAges();
  readonly #identities = new Map<string, AgentIdentity>();
  readonly #tokens = new Map<string, EnrolmentToken>();
  /** What this store wrote and folded, by key, until it is read back. */
  readonly #written = new Map<string, number>();
  #writes = 0;
  #writeSeen = 0;
  #nextOffset = 0;
  #consumer: Consumer | null = null;
  #onChange: (identity: AgentIdentity) => void = () => undefined;
  #unreadable = 0;

  constructor(ports: IdentityStorePorts, onChange: (identity: AgentIdentity) => void) {
    this.#ports = ports;
    this.#writer = ports.newId();
    this.#proof = createRecordProof(ports.dir);
    this.#barred = new Barred(ports.dir);
    for (const identity of this.#barred.shutOut()) this.#identities.set(identityKey(identity), identity);
    this.#onChange = onChange;
  }

  /** Resolves when what the topic held is known. */
  async start(): Promise<void> {
    const { bus, log } = this.#ports;
    const caughtUp = Promise.withResolvers<void>();
    // A group of its own, which never commits: each control has all of it.
    this.#consumer = await bus.consume({
      group: `identities-${this.#writer}`,
      topics: [TOPIC],
      open: async ({ earliestOffset, endOffset }) => {
        this.#nextOffset = Math.max(this.#nextOffset, earliestOffset);
        if (this.#nextOffset >= endOffset) caughtUp.resolve();
        return {
          startOffset: this.#nextOffset,
          receive: async (messages) => {
            for (const message of messages) this.#read(message);
            this.#keepBarred();
            if (this.#nextOffset >= endOffset) caughtUp.resolve();
          },
        };
      },
      onError: (error) => log.warn({ err: error }, "reading the identities failed, trying again"),
    });
    await caughtUp.promise;
  }

  async stop(): Promise<void> {
    const consumer = this.#consumer;
    this.#consumer = null;
    await consumer?.stop();
  }

  identity(key: string): AgentIdentity | undefined {
    return this.#identities.get(key);
  }

  token(id: string): EnrolmentToken | undefined {
    return this.#tokens.get(tokenKey(id));
  }

  identities(): Iterable<AgentIdentity> {
    return this.#identities.values();
  }

  tokens(): Iterable<EnrolmentToken> {
    return this.#tokens.values();
  }

  get size(): { readonly identities: number; readonly tokens: number } {
    return { identities: this.#identities.size, tokens: this.#tokens.size };
  }

  /** Records of the topic that could not be read since the start. */
  get unreadable(): number {
    return this.#unreadable;
  }

  /** Resolves when they are durable, and count. One at a time: the caller sees to it. */
  async write(writes: readonly IdentityWrite[]): Promise<void> {
    this.#writes += 1;
    const write = this.#writes;
    await this.#ports.bus.publish(
      writes.map(({ key, record }) =>
        this.#proof.prove(
          {
            topic: TOPIC,
            key,
            value: record === null ? null : Buffer.from(JSON.stringify(record)),
            headers: { [WRITER_HEADER]: `${this.#writer}/${write}` },
          },
          this.#ages.next(),
        ),
      ),
    );
    if (write <= this.#writeSeen) return;
    for (const { key, record } of writes) {
      this.#written.set(key, write);
      this.#fold(key, record);
    }
    this.#keepBarred();
  }

  #read(message: BusMessage): void {
    this.#nextOffset = message.offset + 1;
    const key = message.key ?? "";
    if (!this.#proof.holds(message)) {
      this.#unreadable += 1;
      this.#ports.log.error({ key, offset: message.offset }, "an identity that no control has written does not count");
      return;
    }
    if (!this.#ages.admit(message)) {
      this.#ports.log.warn(
        { key, offset: message.offset },
        "an identity or token from before lies there again: it does not count",
      );
      return;
    }
    if (this.#isFolded(key, message.headers[WRITER_HEADER] ?? "")) return;
    const record = message.value === null ? null : decode(message);
    if (message.value !== null && record === null) {
      this.#unreadable += 1;
      this.#ports.log.error({ key, offset: message.offset }, "an identity cannot be read: it does not count");
    }
    this.#fold(key, this.#newest(message, record));
  }

  /** A record from before a change that control remembers: it is read at each start, or somebody has put it there again. */
  #newest({ key, offset }: BusMessage, record: IdentityRecord | null): IdentityRecord | null {
    if (key === null || record?.kind === "token") return record;
    const newest = this.#barred.newer(key, record);
    if (newest !== record) this.#ports.log.debug({ key, offset }, "an identity from before does not count");
    return newest;
  }

  /** Ours, and no news. A write that failed but is there all the same is news. */
  #isFolded(key: string, header: string): boolean {
    const [writer, number] = header.split("/");
    if (writer !== this.#writer) return false;
    const write = Number(number);
    this.#writeSeen = Math.max(this.#writeSeen, write);
    const folded = this.#written.get(key) ?? 0;
    if (folded === write) this.#written.delete(key);
    return folded >= write;
  }

  #fold(key: string, record: IdentityRecord | null): void {
    const before = this.#identities.get(key);
    this.#identities.delete(key);
    this.#tokens.delete(key);
    if (record?.kind === "token") this.#tokens.set(key, record);
    else if (record !== null) this.#identities.set(key, record);
    const now = this.#identities.get(key);
    if (now !== undefined) this.#onChange(now);
    else if (before !== undefined) this.#onChange({ ...before, state: "revoked", certificates: [] });
    if (record?.kind !== "token") this.#barred.remember(key, record);
  }

  /** What is on the bus and known here counts, also while our own disk does not take it. */
  #keepBarred(): void {
    try {
      this.#barred.keep();
    } catch (thrown) {
      this.#ports.log.error(
        { err: thrown },
        "who is shut out could not be written down: tried again with the next change",
      );
    }
  }
}
