import type { Gateway, ResourceRef, Submission } from "../../gateway/intake.ts";
import type { SyslogFrame } from "./syslog-frames.ts";
import { type ReadAt, readSyslog } from "./syslog-message.ts";
import type { BsdTime } from "./syslog-time.ts";

const RECEIVER = "syslog";
/** Hosts and services whose references are kept, about 200 bytes each; then all are asked for anew. */
const RESOURCES_MAX = 10_000;

export interface SyslogIntakeOptions {
  readonly gateway: Gateway;
  readonly bsdTime: BsdTime;
  readonly now: () => number;
}

/** Makes records of messages, and counts what was lost before it became one. */
export class SyslogIntake {
  readonly #options: SyslogIntakeOptions;
  readonly #resources = new Map<string, ResourceRef>();
  /** By sender and reason, until there is room for a submission to count them in. */
  readonly #losses = new Map<string, Map<string, number>>();

  constructor(options: SyslogIntakeOptions) {
    this.#options = options;
  }

  /** null: no room now. */
  admit(sender: string, bytes: number): Submission | null {
    const submission = this.#options.gateway.admit({ sender, receiver: RECEIVER, bytes });
    if (submission !== null) this.#countLosses(sender, submission);
    return submission;
  }

  append(submission: Submission, { text, isCut }: SyslogFrame, peer: string): void {
    const at: ReadAt = { nowUnixMs: this.#options.now(), bsdTime: this.#options.bsdTime };
    const { host, service, record } = readSyslog(text, at);
    const ref = this.#resource(host === "" ? peer : host, service);
    const attributes = { ...record.attributes, "network.peer.address": peer, ...(isCut ? CUT : {}) };
    submission.log(ref, { ...record, attributes });
  }

  /** Reasons are of a fixed set, senders of the configuration (and "" for strangers). */
  lost(sender: string, reason: string, messages: number): void {
    const losses = this.#losses.get(sender) ?? new Map<string, number>();
    losses.set(reason, (losses.get(reason) ?? 0) + messages);
    this.#losses.set(sender, losses);
  }

  /** Counts what nothing else has come after to be counted with. */
  flushLosses(): void {
    for (const sender of [...this.#losses.keys()]) this.admit(sender, 0)?.abandon();
  }

  #countLosses(sender: string, submission: Submission): void {
    for (const [reason, messages] of this.#losses.get(sender) ?? []) submission.reject(reason, messages);
    this.#losses.delete(sender);
  }

  #resource(host: string, service: string): ResourceRef {
    const key = `${host}\n${service}`;
    const known = this.#resources.get(key);
    if (known !== undefined) return known;
    if (this.#resources.size >= RESOURCES_MAX) this.#resources.clear();
    const attributes = { "host.name": host, ...(service === "" ? {} : { "service.name": service }) };
    const ref = this.#options.gateway.resource({ host, service, attributes });
    this.#resources.set(key, ref);
    return ref;
  }
}

const CUT = { "syslog.cut": "true" };
