import type { Control } from "@homeostat/agent/control";
import type { InputTaken, JobHappening, Principal, Refused, ShellPort, TranscriptRow } from "@homeostat/analytics";
import { hasEnded, type Job, JobRequest, type Log } from "@homeostat/schemas";
import type { Recording, StoredTranscript, Transcripts } from "./transcripts.ts";

/** At once; each has a file open. */
const SESSIONS_MAX = 64;
/** A session that its host has not begun by then never begins. */
const BEGIN_MS_MAX = 60_000;
const TEND_MS = 10_000;
const AUDIT_PAGE = 1_000;
const RECORDED = "shell.recorded";
/** Who ends sessions that nobody records any more. */
const PLATFORM: Principal = { name: "platform", roles: ["operator", "admin", "shell"] };

interface Session {
  readonly id: string;
  readonly host: string;
  readonly openedBy: string;
  readonly recording: Recording;
  commandId: string;
  nextInput: number;
  nextResize: number;
  nextOutput: number;
  unfollow: () => void;
}

export interface ShellSessionsOptions {
  readonly control: Pick<Control, "agent" | "submit" | "jobs" | "cancel" | "follow" | "input" | "resize" | "audit">;
  readonly transcripts: Transcripts;
  readonly sessionBytesMax: number;
  readonly now: () => number;
  readonly log: Log;
}

export interface ShellSessions extends ShellPort {
  /** From then on, what an earlier process left is sealed, and what it left running is ended. */
  start(): void;
  stop(): Promise<void>;
  /** One round of what is done every few seconds. */
  tend(): Promise<void>;
}

const refused = (code: string, message: string): Refused => ({ refused: code, message });

/** Interactive sessions: each is a job of the executor `shell.open` that is recorded here, or it ends. */
export class RecordedSessions implements ShellSessions {
  readonly #options: ShellSessionsOptions;
  readonly #sessions = new Map<string, Session>();
  /** Digests that stand in the audit log, by session. */
  readonly #seals = new Map<string, string>();
  #auditRead = 0;
  #timer: NodeJS.Timeout | null = null;
  #tending: Promise<void> = Promise.resolve();

  constructor(options: ShellSessionsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => void this.tend(), TEND_MS);
    this.#timer.unref();
    void this.tend();
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    for (const session of this.#sessions.values()) this.#end(session);
    await this.tend();
  }

  /** One after the other; a failure is told and tried again at the next round. */
  tend(): Promise<void> {
    this.#tending = this.#tending.then(() =>
      this.#tend().catch((error: unknown) => this.#options.log.warn({ err: error }, "transcripts wait to be sealed")),
    );
    return this.#tending;
  }

  async open(
    { host, for_ms, reason, ...args }: Parameters<ShellPort["open"]>[0],
    by: Principal,
  ): Promise<Job | Refused> {
    if (this.#options.control.agent(host)?.link === "bus")
      return refused(
        "invalid",
        `${host} is watched by the platform's own process, which takes no keys: enrol an agent of its own there (docs/AGENT.md)`,
      );
    if (this.#sessions.size >= SESSIONS_MAX)
      return refused("over_limit", `${SESSIONS_MAX} sessions are open already; close one`);
    const request = JobRequest.parse({
      executor: "shell.open",
      args,
      targets: { hosts: [host] },
      batch: { ramp: false, concurrency_max: 1 },
      timeout_ms: for_ms,
      expires_ms: BEGIN_MS_MAX,
      output_bytes_max: 0,
      reason,
    });
    const job = await this.#options.control.submit(request, by);
    if ("refused" in job) return job;
    const begun = this.#record(job, { host, by, ...args });
    if (begun !== null) return begun;
    return job;
  }

  #record(
    job: Job,
    { host, by, ...terminal }: { host: string; by: Principal; columns: number; rows: number; term: string },
  ): Refused | null {
    const { control, transcripts, now, log } = this.#options;
    const opened = { session_id: job.job_id, host, opened_by: by.name, opened_at_unix_ms: now() };
    try {
      const recording = transcripts.begin({ ...opened, ...terminal });
      const session: Session = {
        id: job.job_id,
        host,
        openedBy: by.name,
        recording,
        commandId: "",
        nextInput: 0,
        nextResize: 0,
        nextOutput: 0,
        unfollow: () => undefined,
      };
      this.#sessions.set(job.job_id, session);
      session.unfollow = control.follow(job.job_id, (event) => this.#hear(session, event));
      // The first happenings came before there was anything to undo.
      if (!this.#sessions.has(job.job_id)) session.unfollow();
      return null;
    } catch (error) {
      log.error({ err: error, job_id: job.job_id }, "a session cannot be recorded, so it is ended");
      void control.cancel(job.job_id, PLATFORM, "it cannot be recorded");
      return refused("unavailable", "the session cannot be recorded, so it was not opened");
    }
  }

  #hear(session: Session, event: JobHappening): void {
    try {
      if (event.type === "invocation" && event.command_id !== "") session.commandId = event.command_id;
      if (event.type === "output" && event.stream === "pty") this.#output(session, event);
      if (event.type === "invocation" && hasEnded(event.state)) session.recording.marker(event.state);
      if (event.type === "left") this.#giveUp(session, event.message);
      if (event.type === "end") this.#end(session);
    } catch (error) {
      this.#giveUp(session, `its transcript cannot be written: ${error instanceof Error ? error.message : error}`);
    }
  }

  #output(session: Session, event: Extract<JobHappening, { type: "output" }>): void {
    session.commandId = event.command_id;
    if (event.sequence > session.nextOutput)
      session.recording.marker(`${event.sequence - session.nextOutput} pieces of output were lost on the way`);
    session.nextOutput = event.sequence + 1;
    session.recording.output(Buffer.from(event.data, "base64"));
    if (session.recording.bytes > this.#options.sessionBytesMax)
      this.#giveUp(session, `its transcript is longer than ${this.#options.sessionBytesMax} bytes`);
  }

  /** What cannot be recorded does not go on. */
  #giveUp(session: Session, why: string): void {
    this.#options.log.error({ job_id: session.id, why }, "a session is ended because it cannot be recorded");
    this.#end(session);
    void this.#options.control.cancel(session.id, PLATFORM, why);
  }

  #end(session: Session): void {
    if (!this.#sessions.delete(session.id)) return;
    session.unfollow();
    try {
      session.recording.close();
    } catch (error) {
      this.#options.log.error({ err: error, job_id: session.id }, "the end of a transcript was not written");
    }
    void this.tend();
  }

  input(
    sessionId: string,
    { sequence, data }: { sequence: number; data: Buffer },
    by: Principal,
  ): InputTaken | Refused {
    const session = this.#own(sessionId, by);
    if ("refused" in session) return session;
    const { nextInput } = session;
    if (sequence > nextInput) return refused("too_early", `input ${sequence} came before input ${nextInput}`);
    if (sequence === nextInput) {
      if (!this.#options.control.input(session.commandId, session.host, data))
        return refused("behind", `${session.host} takes no input just now; try again`);
      session.nextInput += 1;
      this.#written(session, () => session.recording.input(data));
    }
    return { next_sequence: session.nextInput };
  }

  resize(
    sessionId: string,
    { sequence, columns, rows }: { sequence: number; columns: number; rows: number },
    by: Principal,
  ): InputTaken | Refused {
    const session = this.#own(sessionId, by);
    if ("refused" in session) return session;
    if (sequence >= session.nextResize) {
      if (!this.#options.control.resize(session.commandId, session.host, { columns, rows }))
        return refused("behind", `${session.host} takes no input just now; try again`);
      session.nextResize = sequence + 1;
      this.#written(session, () => session.recording.resize(columns, rows));
    }
    return { next_sequence: session.nextResize };
  }

  #written(session: Session, write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#giveUp(session, `its transcript cannot be written: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Only who opened a session types into it. */
  #own(sessionId: string, by: Principal): Session | Refused {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) return refused("not_found", `no session ${sessionId} is open`);
    if (session.openedBy !== by.name)
      return refused("not_allowed", `session ${sessionId} is ${session.openedBy}'s, not ${by.name}'s`);
    if (session.commandId === "") return refused("not_begun", `session ${sessionId} has not begun yet`);
    return session;
  }

  async close(sessionId: string, by: Principal): Promise<Job | Refused> {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) return refused("not_found", `no session ${sessionId} is open`);
    if (session.openedBy !== by.name && !by.roles.includes("admin"))
      return refused("not_allowed", `session ${sessionId} is ${session.openedBy}'s, not ${by.name}'s`);
    return this.#options.control.cancel(sessionId, by, "closed");
  }

  async transcripts(): Promise<readonly TranscriptRow[]> {
    await this.#readSeals();
    return Promise.all(this.#options.transcripts.list().map((stored) => this.#rowOf(stored)));
  }

  async transcript(sessionId: string): Promise<{ row: TranscriptRow; text: string } | null> {
    const found = this.#options.transcripts.read(sessionId);
    if (found === null) return null;
    await this.#readSeals();
    return { row: await this.#rowOf(found.stored), text: found.text };
  }

  async #rowOf({ isSealed: _, ...stored }: StoredTranscript): Promise<TranscriptRow> {
    if (this.#sessions.has(stored.session_id)) return { ...stored, state: "recording" };
    const seal = this.#seals.get(stored.session_id);
    if (seal === undefined) return { ...stored, state: "unsealed" };
    const isWhole = (await this.#options.transcripts.digest(stored.session_id)) === seal;
    return { ...stored, state: isWhole ? "whole" : "altered" };
  }

  async #readSeals(): Promise<void> {
    for (;;) {
      const records = await this.#options.control.audit.read(this.#auditRead + 1, AUDIT_PAGE);
      // The first seal counts: a later one would make an altered transcript whole.
      for (const { what, subject, details } of records)
        if (what === RECORDED && typeof details.sha256 === "string" && !this.#seals.has(subject))
          this.#seals.set(subject, details.sha256);
      this.#auditRead = records.at(-1)?.sequence ?? this.#auditRead;
      if (records.length < AUDIT_PAGE) return;
    }
  }

  async #tend(): Promise<void> {
    const { control, transcripts } = this.#options;
    for (const { job_id } of control.jobs({
      executor: "shell.open",
      states: ["awaiting_approval", "running"],
      limit: AUDIT_PAGE,
    }))
      if (!this.#sessions.has(job_id)) await control.cancel(job_id, PLATFORM, "nobody records it any more");
    for (const { session_id, host, opened_by, bytes, isSealed } of transcripts.list()) {
      if (isSealed || this.#sessions.has(session_id)) continue;
      const sha256 = await transcripts.digest(session_id);
      // Written down before it is renamed: a crash in between seals it again, with the same digest.
      await control.audit.append(opened_by, RECORDED, session_id, { sha256, bytes, host });
      transcripts.seal(session_id);
    }
    for (const { session_id, host } of transcripts.tidy())
      await control.audit.append(PLATFORM.name, "shell.transcript_removed", session_id, { host });
  }
}
