import type { RunningGateway } from "../../gateway/gateway.ts";
import type { ResourceRef, Submission } from "../../gateway/intake.ts";
import type { SyslogFrame } from "./syslog-frames.ts";
import { type ReadAt, readSyslog } from "./syslog-message.ts";
import type { BsdTime } from "./syslog-time.ts";

const RECEIVER = "syslog";
/** Hosts and services whose references are kept, about 200 bytes each; then all are asked for anew. */
const RESOURCES_MAX = 10_000;

export type SyslogGateway = Pick<RunningGateway, "admit" | "countRefusal" | "resource">;

export interface SyslogIntakeOptions {
  readonly gateway: SyslogGateway;
  readonly bsdTime: BsdTime;
  readonly now: () => number;
}

/** Makes records of messages, and counts what was lost before it became one. */
export class SyslogIntake {
  readonly #options: SyslogIntakeOptions;
  readonly #resources = new Map<string, ResourceRef>();

  constructor(options: SyslogIntakeOptions) {
    this.#options = options;
  }

  /** null: no room now. */
  admit(sender: string, bytes: number): Submission | null {
    return this.#options.gateway.admit({ sender, receiver: RECEIVER, bytes });
  }

  append(submission: Submission, { text, isCut }: SyslogFrame, peer: string): void {
    const at: ReadAt = { nowUnixMs: this.#options.now(), bsdTime: this.#options.bsdTime };
    const { host, service, record } = readSyslog(text, at);
    const ref = this.#resource(host === "" ? peer : host, service);
    const attributes = { ...record.attributes, "network.peer.address": peer, ...(isCut ? CUT : {}) };
    submission.log(ref, { ...record, attributes });
  }

  /** Counts a message or a connection that was not taken. `sender` is "" for strangers. */
  lost({ sender, peer }: { sender: string; peer: string }, reason: keyof typeof LOSSES): void {
    this.#options.gateway.countRefusal({ sender, receiver: RECEIVER, peer }, { reason, message: LOSSES[reason] });
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

const LOSSES = {
  network_refused: "it is in none of the networks that may send",
  connection_refused: "too many connections are open",
  udp_overflow: "datagrams came faster than they could be taken",
} as const;
