import type { KeyObject } from "node:crypto";
import { AuditRecord, type Bus, type Log, type OutgoingMessage } from "@homeostat/schemas";
import { jsonOf, readTopic } from "../read-topic.ts";
import type { Timers } from "../timers.ts";
import { AnchorFile } from "./anchor.ts";
import type { Audit, AuditDetails, AuditVerdict } from "./audit.ts";
import { AuditWriter } from "./audit-writer.ts";
import { type AuditEntry, ChainCheck, type Head, isSigned } from "./chain.ts";

const TOPIC = "audit";
const READ_MAX = 1_000;
/** Of a message without a value, which says nothing. */
const BARRIER = "barrier";
/** Where the head is looked for: a publish that was repeated some times, and the barriers of terms that wrote nothing. */
const TAIL_RECORDS = 10_000;
/** The anchor is written to disk at most this often; what a kill leaves out is the newest second at most. */
const ANCHOR_MS = 1_000;

export interface AuditPorts {
  readonly bus: Bus;
  readonly signingKey: KeyObject;
  /** Keys that signed earlier records. */
  readonly trustedKeys: readonly KeyObject[];
  readonly dir: string;
  readonly now: () => number;
  readonly log: Log;
  readonly newId: () => string;
  readonly timers: Timers;
}

interface Term {
  readonly writer: AuditWriter;
  readonly onDoubt: (thrown: unknown) => void;
  /** The log holds what the anchor says; otherwise the anchor stays where it is, as the proof. */
  readonly isAnchored: boolean;
  cancelAnchor: (() => void) | null;
  anchoring: Promise<void>;
}

/** The audit log. Read by anybody; written by the leader alone, who knows its head. */
export class AuditLog implements Audit {
  readonly #ports: AuditPorts;
  readonly #anchor: AnchorFile;
  #term: Term | null = null;

  constructor(ports: AuditPorts) {
    this.#ports = ports;
    this.#anchor = new AnchorFile(ports.dir);
  }

  /** Before the first append of a term: finds the head, and resolves with its number. `fence` rejects when somebody else leads; `onDoubt` is told when the bus may hold a record that we do not know of. */
  async begin({
    fence,
    onDoubt,
    signal,
  }: {
    readonly fence: () => Promise<void>;
    readonly onDoubt: (thrown: unknown) => void;
    readonly signal: AbortSignal;
  }): Promise<number> {
    const { bus, log } = this.#ports;
    await this.#passBarrier();
    const head = await this.#headOnBus(signal);
    const isAnchored = await this.#holdsAnchor(head, signal);
    if (!isAnchored)
      log.error({ sequence: head.sequence }, "the audit log does not hold what it held before: verify it");
    const writer = new AuditWriter({ bus, key: this.#ports.signingKey, head, fence });
    this.#term = { writer, onDoubt, isAnchored, cancelAnchor: null, anchoring: Promise.resolve() };
    return head.sequence;
  }

  async end(): Promise<void> {
    const term = this.#term;
    this.#term = null;
    if (term === null) return;
    await term.writer.idle();
    this.#dropAnchor(term);
    await term.anchoring;
  }

  get isAnchored(): boolean {
    return this.#term?.isAnchored ?? true;
  }

  append(who: string, what: string, subject: string, details: AuditDetails): Promise<void> {
    return this.appendWith({ who, what, subject, details }, []);
  }

  /** With what was done: durable together, and never without this record. */
  async appendWith(entry: Omit<AuditEntry, "at_unix_ms">, behind: readonly OutgoingMessage[]): Promise<void> {
    const term = this.#term;
    if (term === null) throw new Error("this control plane does not lead, so it writes no audit log");
    try {
      await term.writer.append({ at_unix_ms: this.#ports.now(), ...entry }, behind);
    } catch (thrown) {
      // It may be on the bus or not: the head has to be read again.
      if (this.#term === term) this.#term = null;
      term.cancelAnchor?.();
      term.onDoubt(thrown);
      throw thrown;
    }
    term.cancelAnchor ??= this.#ports.timers.after(ANCHOR_MS, () => this.#dropAnchor(term));
  }

  async read(from: number, limit: number): Promise<readonly AuditRecord[]> {
    const records: AuditRecord[] = [];
    const first = Math.max(1, Math.floor(from));
    const max = Math.min(READ_MAX, Math.max(1, Math.floor(limit)));
    let newest = first - 1;
    // Each record takes an offset at least, so that the one with this number lies here or behind.
    await this.#each(first - 1, (value) => {
      const parsed = AuditRecord.safeParse(value);
      // Not what comes once more.
      if (parsed.success && parsed.data.sequence > newest) {
        records.push(parsed.data);
        newest = parsed.data.sequence;
      }
      return records.length < max;
    });
    return records;
  }

  async verify(): Promise<AuditVerdict> {
    const anchor = this.#readAnchor();
    if (anchor === "unreadable")
      return { ok: false, records: 0, at_sequence: 0, flaw: "the anchor of the audit log cannot be read" };
    const check = new ChainCheck(this.#keys());
    let flaw: ReturnType<ChainCheck["next"]> = null;
    await this.#each(0, (value, key) => {
      flaw = check.next(value, key);
      if (flaw === null && check.head.sequence === anchor?.sequence && check.head.sha256 !== anchor.sha256)
        flaw = {
          at_sequence: anchor.sequence,
          flaw: `record ${anchor.sequence} is not the one that stood there before: the log was written anew`,
        };
      return flaw === null;
    });
    flaw ??= check.end();
    const { sequence, sha256 } = check.head;
    if (flaw === null && anchor !== null && sequence < anchor.sequence)
      flaw = {
        at_sequence: sequence + 1,
        flaw: `the log ends at record ${sequence}, and had come to ${anchor.sequence}: its tail was cut off`,
      };
    return flaw === null
      ? { ok: true, records: sequence, head_sha256: sha256 }
      : { ok: false, records: sequence, ...(flaw as { at_sequence: number; flaw: string }) };
  }

  #dropAnchor(term: Term): void {
    term.cancelAnchor?.();
    term.cancelAnchor = null;
    term.anchoring = term.anchoring.then(() => this.#writeAnchor(term));
  }

  async #writeAnchor({ isAnchored, writer }: Term): Promise<void> {
    const { head } = writer;
    if (!isAnchored || head.sequence === 0) return;
    try {
      await this.#anchor.write(head);
    } catch (thrown) {
      this.#ports.log.error({ err: thrown }, "the anchor of the audit log cannot be written");
    }
  }

  /** What a broker has taken and not yet shown to anybody lies before this, and can be read once this is durable. */
  async #passBarrier(): Promise<void> {
    await this.#ports.bus.publish([{ topic: TOPIC, key: BARRIER, value: null }]);
  }

  /** The newest that a control has signed: what somebody else puts behind it, also of ours once more, moves it nowhere. */
  async #headOnBus(signal: AbortSignal): Promise<Head> {
    const keys = this.#keys();
    const signed: AuditRecord[] = [];
    const take = (value: unknown): boolean => {
      const parsed = AuditRecord.safeParse(value);
      if (parsed.success && parsed.data.signature !== "") signed.push(parsed.data);
      return true;
    };
    await this.#each({ last: TAIL_RECORDS }, take, signal);
    const newest = signed.sort((a, b) => b.sequence - a.sequence).find((record) => isSigned(record, keys));
    return newest === undefined ? this.#headOfAll(signal) : { sequence: newest.sequence, sha256: newest.sha256 };
  }

  /** None of ours stands at the end: an empty log, or somebody else has written much there, of which every verification tells. */
  async #headOfAll(signal: AbortSignal): Promise<Head> {
    const check = new ChainCheck(this.#keys());
    let isWhole = true;
    const passOver = (value: unknown, key: string | null): boolean => {
      isWhole = check.next(value, key) === null && isWhole;
      return true;
    };
    await this.#each(0, passOver, signal);
    if (!isWhole)
      this.#ports.log.error(
        { sequence: check.head.sequence },
        "what stands at the end of the audit log is no record of ours: the log goes on behind the last that is; verify it",
      );
    return check.head;
  }

  #keys(): readonly KeyObject[] {
    return [this.#ports.signingKey, ...this.#ports.trustedKeys];
  }

  async #holdsAnchor(head: Head, signal: AbortSignal): Promise<boolean> {
    const anchor = this.#readAnchor();
    if (anchor === null) return true;
    if (anchor === "unreadable" || head.sequence < anchor.sequence) return false;
    if (anchor.sequence === 0) return true;
    let found = "";
    await this.#each(
      anchor.sequence - 1,
      (value) => {
        const parsed = AuditRecord.safeParse(value);
        if (!parsed.success || parsed.data.sequence < anchor.sequence) return true;
        if (parsed.data.sequence === anchor.sequence) found = parsed.data.sha256;
        return false;
      },
      signal,
    );
    return found === anchor.sha256;
  }

  #readAnchor(): Head | null | "unreadable" {
    try {
      return this.#anchor.read();
    } catch (thrown) {
      this.#ports.log.error({ err: thrown }, "the anchor of the audit log cannot be read");
      return "unreadable";
    }
  }

  #each(
    from: Parameters<typeof readTopic>[1]["from"],
    take: (value: unknown, key: string | null) => boolean,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<void> {
    const { bus, log, newId } = this.#ports;
    const group = `control-audit-${newId()}`;
    return readTopic(bus, {
      topic: TOPIC,
      group,
      from,
      take: ({ value, key }) => (key === BARRIER && value === null) || take(jsonOf(value), key),
      signal,
      log,
    });
  }
}
