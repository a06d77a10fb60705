import type { KeyObject } from "node:crypto";
import {
  type Dispatch,
  dispatchOf,
  type Job,
  type OutgoingMessage,
  type SignedCancel,
  signCancel,
} from "@homeostat/schemas";
import type { AuditDetails } from "../audit/audit.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { JobBook } from "./job-book.ts";
import { commandIdOf, isOver } from "./job-run.ts";

export interface JobRecordsPorts {
  readonly audit: Pick<AuditLog, "append" | "appendWith">;
  readonly book: JobBook;
  /** By a leader that was killed before it wrote the job's record. */
  isEndAudited(jobId: string, end?: Pick<Job, "state" | "counts">): boolean;
  readonly signingKey: KeyObject;
  /** As this term writes it, so that it does not take it for news. */
  marked(message: OutgoingMessage): OutgoingMessage;
  /** The same, with the proof that a control wrote it. */
  proved(message: OutgoingMessage): OutgoingMessage;
  /** Fenced: rejects when somebody else leads. */
  publish(message: OutgoingMessage): Promise<void>;
  readonly now: () => number;
}

export interface Audited {
  readonly who: string;
  readonly what: string;
  readonly details: AuditDetails;
}

/** What stands of jobs on the bus: their records, their signed orders, and what is audited of them. */
export class JobRecords {
  readonly #ports: JobRecordsPorts;

  constructor(ports: JobRecordsPorts) {
    this.#ports = ports;
  }

  of(job: Job): OutgoingMessage {
    return this.#ports.proved({ topic: "agent.jobs", key: job.job_id, value: Buffer.from(JSON.stringify(job)) });
  }

  orderOf(key: string, order: Dispatch | SignedCancel): OutgoingMessage {
    return this.#ports.marked({ topic: "agent.commands", key, value: Buffer.from(JSON.stringify(order)) });
  }

  /**
   * Resolves when the record is durable, behind what is audited of it. `behind`: between the two, and never there without what is audited;
   * only for a change of which something is.
   */
  async write(
    job: Job,
    how: { readonly before: Job; readonly audited: Audited | null; readonly behind?: readonly OutgoingMessage[] },
  ): Promise<void> {
    const { audit, publish, isEndAudited } = this.#ports;
    const { before, audited, behind = [] } = how;
    const subject = job.job_id;
    const entries = audited === null ? [] : [{ ...audited, subject }];
    // Also where another end was audited than it came to: its last result was not there yet, and is another now.
    if (isOver(job) && !isOver(before) && !isEndAudited(subject, job)) {
      const { state, counts, message } = job;
      entries.push({ who: "control", what: "job.ended", subject, details: { state, counts, message } });
    }
    // Where only what is audited has arrived, the job is live, and the next leader finds its end audited.
    const records = [...behind, this.of(job)];
    const last = entries.pop();
    const others = entries.map((entry) => audit.appendWith(entry, []));
    if (last === undefined) await Promise.all(records.map((record) => publish(record)));
    else await Promise.all([...others, audit.appendWith(last, records)]);
  }

  async remove(jobIds: readonly string[]): Promise<void> {
    if (jobIds.length === 0) return;
    const { publish, proved } = this.#ports;
    await Promise.all(jobIds.map((key) => publish(proved({ topic: "agent.jobs", key, value: null }))));
  }

  dispatchOf(job: Job, number: number, hosts: readonly string[]): Dispatch {
    const { request } = job;
    const { book, now, signingKey } = this.#ports;
    const terms = {
      command_id: commandIdOf(job.job_id, number),
      job_id: job.job_id,
      requested_by: job.requested_by,
      executor: request.executor,
      risk: job.risk,
      targets: { sites: book.sitesOf(job) },
      approvals: job.approvals,
      issued_at_unix_ms: now(),
      not_after_unix_ms: job.not_after_unix_ms,
      timeout_ms: request.timeout_ms,
      output_bytes_max: request.output_bytes_max,
      limits: request.limits,
    };
    return dispatchOf(terms, { args: request.args, hosts, privateKey: signingKey });
  }

  cancelOf(job: Job, number: number): SignedCancel {
    const cancel = {
      command_id: commandIdOf(job.job_id, number),
      hosts: [],
      cancelled_by: "control",
      at_unix_ms: this.#ports.now(),
      not_after_unix_ms: job.not_after_unix_ms,
    };
    return signCancel(cancel, this.#ports.signingKey);
  }
}
