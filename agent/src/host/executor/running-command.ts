import type { Command, Log, ResourceLimits } from "@homeostat/schemas";
import { lesserLimits } from "./child-limits.ts";
import { CommandInput } from "./command-input.ts";
import type { Waiting } from "./command-queue.ts";
import { type Execution, failed, type Outcome, type OutputStream, type Prepared } from "./executor.ts";
import { markOf } from "./orphans.ts";
import { OutputProgress, type ProgressOptions } from "./progress-stream.ts";

/** After its end has been asked for, an execution gets this long to notice; then it is given up. */
const GIVE_UP_MS = 10_000;
const TIMED_OUT = "timed out";

/** What all executions of a runner share. */
export interface ExecutionPorts {
  readonly host: string;
  readonly dir: string;
  readonly limits: ResourceLimits;
  readonly progress: ProgressOptions;
  readonly noteChild: (running: RunningCommand, pid: number) => void;
  readonly onFirstOutput: (commandId: string) => void;
  readonly log: Log;
}

/**
 * One command from its beginning to its end, as its executor sees it. Most end at once, and use little of what an execution may: all of
 * that is made when it is asked for.
 */
export class RunningCommand implements Execution {
  readonly command: Command;
  readonly prepared: Prepared;
  readonly startedUnixMs: number;
  readonly #ports: ExecutionPorts;
  #abort: AbortController | null = null;
  #endingBecause: string | null = null;
  #input: CommandInput | null = null;
  #output: OutputProgress | null = null;
  #mark: Execution["mark"] | null = null;
  /** Until its time is over; then until it is given up. */
  #timer: NodeJS.Timeout | null = null;
  /** null before it has begun, and after its end. */
  #onEnd: ((outcome: Outcome) => void) | null = null;

  constructor({ command, prepared }: Waiting, ports: ExecutionPorts, startedUnixMs: number) {
    this.command = command;
    this.prepared = prepared;
    this.startedUnixMs = startedUnixMs;
    this.#ports = ports;
  }

  /** `onEnd` is called once, and never within this call. */
  run(onEnd: (outcome: Outcome) => void): void {
    this.#onEnd = onEnd;
    this.#timer = setTimeout(() => this.end(TIMED_OUT), this.timeoutMs).unref();
    this.#execute().then(
      (outcome) => this.#ended(outcome),
      (error: unknown) => this.#threw(error),
    );
  }

  /** Asks it to end; the first reason counts. */
  end(reason: string): void {
    if (this.#endingBecause !== null) return;
    this.#endingBecause = reason;
    if (this.#onEnd !== null) {
      if (this.#timer !== null) clearTimeout(this.#timer);
      const giveUp = () => this.#ended(failed("given up: it does not end"));
      this.#timer = setTimeout(giveUp, GIVE_UP_MS).unref();
    }
    this.#abort?.abort(reason);
  }

  /** Why it was asked to end: `CANCELLED`, `TIMED_OUT`, or null. */
  get endingBecause(): string | null {
    return this.#endingBecause;
  }

  // ——— for its executor

  get commandId(): string {
    return this.command.signed.grant.command_id;
  }

  get requestedBy(): string {
    return this.command.signed.grant.requested_by;
  }

  get timeoutMs(): number {
    return this.command.signed.grant.timeout_ms;
  }

  get outputBytesMax(): number {
    return this.command.signed.grant.output_bytes_max;
  }

  get limits(): ResourceLimits {
    return lesserLimits(this.command.signed.grant.limits, this.#ports.limits);
  }

  get signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      if (this.#endingBecause !== null) this.#abort.abort(this.#endingBecause);
    }
    return this.#abort.signal;
  }

  get mark(): Execution["mark"] {
    this.#mark ??= markOf(this.#ports, this.commandId);
    return this.#mark;
  }

  get input(): CommandInput {
    this.#input ??= new CommandInput();
    return this.#input;
  }

  readonly noteChild = (pid: number): void => this.#ports.noteChild(this, pid);

  readonly output = (stream: OutputStream, data: Buffer): Promise<void> | null => {
    if (this.#onEnd === null) return null;
    this.#output ??= new OutputProgress(this.#ports.progress, {
      id: this.commandId,
      outputBytesMax: this.outputBytesMax,
      onFirst: () => this.#ports.onFirstOutput(this.commandId),
    });
    return this.#output.add(stream, data);
  };

  // ——— its end

  async #execute(): Promise<Outcome> {
    return this.prepared.run(this);
  }

  #threw(error: unknown): void {
    if (this.#onEnd === null) return;
    this.#ports.log.error({ command_id: this.commandId, error: String(error) }, "an executor failed");
    this.#ended(failed(error instanceof Error ? error.message : String(error)));
  }

  #ended(outcome: Outcome): void {
    const onEnd = this.#onEnd;
    // Given up before.
    if (onEnd === null) return;
    this.#onEnd = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#output?.end();
    onEnd(outcome);
  }
}
