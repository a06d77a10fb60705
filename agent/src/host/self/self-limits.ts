/** What the agent takes of the host, read once a second. */
export interface Taken {
  readonly atMs: number;
  /** Of the process since its start. */
  readonly cpuMicros: number;
  readonly rssBytes: number;
}

export interface Verdict {
  /** 1: everything as often as configured; 4: a quarter of it. */
  readonly slowdown: number;
  /** Why it is slowed down, for the heartbeat; null when it is not. */
  readonly problem: string | null;
  /** Why the agent has to begin anew; null when it has not. */
  readonly restart: string | null;
}

const WINDOW_MS = 60_000;
const SAMPLES_MAX = 128;
/** Start-up loads and reads a backlog: not judged. */
const GRACE_MS = 60_000;
const STEP_EVERY_MS = 10_000;
const SLOWDOWN_MAX = 16;
/** It gets faster again below these shares of its limits, so that it does not swing. */
const CPU_RELIEF = 0.7;
const MEMORY_RELIEF = 0.8;
const MEMORY_SLOW = 0.9;
/** Memory above its limit for this long, whatever was slowed down: a leak, or a limit that is too tight. */
const MEMORY_PATIENCE_MS = 60_000;

/**
 * Holds the agent to its own limits: CPU as a share over a minute, resident memory as it is. Above them it is slowed down by two every ten
 * seconds, and as slowly made faster again. The spool has its own bound. Pure: the clock and the meter are the caller's.
 */
export class SelfLimiter {
  readonly #cpuPercentMax: number;
  readonly #memoryBytesMax: number;
  readonly #samples: Taken[] = [];
  #startedAtMs: number | null = null;
  #steppedAtMs = 0;
  #slowdown = 1;
  #memoryOverSinceMs: number | null = null;
  /** In total. */
  throttledMs = 0;

  constructor(limits: { readonly cpu_percent: number; readonly memory_bytes: number }) {
    this.#cpuPercentMax = limits.cpu_percent;
    this.#memoryBytesMax = limits.memory_bytes;
  }

  /** Of one core, over the last minute; null before there is one. */
  get cpuPercent(): number | null {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs - first.atMs < WINDOW_MS / 2) return null;
    return (last.cpuMicros - first.cpuMicros) / (last.atMs - first.atMs) / 10;
  }

  observe(taken: Taken): Verdict {
    this.#startedAtMs ??= taken.atMs;
    const previous = this.#samples.at(-1);
    if (previous !== undefined && this.#slowdown > 1) this.throttledMs += taken.atMs - previous.atMs;
    this.#samples.push(taken);
    while ((this.#samples[0]?.atMs ?? 0) < taken.atMs - WINDOW_MS || this.#samples.length > SAMPLES_MAX)
      this.#samples.shift();
    const cpu = this.#cpuShare(taken.atMs);
    const memory = taken.rssBytes / this.#memoryBytesMax;
    this.#step(cpu, memory, taken.atMs);
    return {
      slowdown: this.#slowdown,
      problem: this.#slowdown > 1 ? this.#problem(cpu, taken.rssBytes) : null,
      restart: this.#restartReason(memory, taken),
    };
  }

  #cpuShare(atMs: number): number {
    if (this.#startedAtMs === null || atMs - this.#startedAtMs < GRACE_MS) return 0;
    return (this.cpuPercent ?? 0) / this.#cpuPercentMax;
  }

  #step(cpu: number, memory: number, atMs: number): void {
    if (atMs - this.#steppedAtMs < STEP_EVERY_MS) return;
    const isOver = cpu > 1 || memory > MEMORY_SLOW;
    const isRelieved = cpu < CPU_RELIEF && memory < MEMORY_RELIEF;
    if (isOver && this.#slowdown < SLOWDOWN_MAX) this.#slowdown *= 2;
    else if (isRelieved && this.#slowdown > 1) this.#slowdown /= 2;
    else return;
    this.#steppedAtMs = atMs;
  }

  #problem(cpu: number, rssBytes: number): string {
    const because =
      cpu > rssBytes / this.#memoryBytesMax
        ? `${(this.cpuPercent ?? 0).toFixed(1)} % of a core over a minute, limit ${this.#cpuPercentMax} %`
        : `${megabytes(rssBytes)} MB resident, limit ${megabytes(this.#memoryBytesMax)} MB`;
    return `the agent slows itself down ${this.#slowdown} times: ${because}`;
  }

  #restartReason(memory: number, { atMs, rssBytes }: Taken): string | null {
    if (memory <= 1) {
      this.#memoryOverSinceMs = null;
      return null;
    }
    this.#memoryOverSinceMs ??= atMs;
    if (atMs - this.#memoryOverSinceMs < MEMORY_PATIENCE_MS) return null;
    return `${megabytes(rssBytes)} MB resident for a minute, limit ${megabytes(this.#memoryBytesMax)} MB`;
  }
}

const megabytes = (bytes: number): number => Math.round(bytes / 1_048_576);
