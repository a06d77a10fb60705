/** A clock that moved by more than this beside the monotonic one was set, by a person or by a time service. */
const JUMP_MS = 2_000;
const TELL_FOR_MS = 600_000;
/** More than this beside the control plane's clock: certificates, expiries and people's eyes go wrong. */
export const SKEW_MS_MAX = 5_000;

/** Says when this host's clock is not to be trusted. */
export class ClockWatch {
  #last: { readonly unixMs: number; readonly ms: number } | null = null;
  #jumped: { readonly byMs: number; readonly atMs: number } | null = null;
  jumps = 0;

  observe(unixMs: number, ms: number): void {
    const last = this.#last;
    this.#last = { unixMs, ms };
    if (last === null) return;
    const byMs = unixMs - last.unixMs - (ms - last.ms);
    if (Math.abs(byMs) < JUMP_MS) return;
    this.jumps += 1;
    this.#jumped = { byMs, atMs: ms };
  }

  problems(skewMs: number | null): string[] {
    const found: string[] = [];
    if (skewMs !== null && Math.abs(skewMs) > SKEW_MS_MAX)
      found.push(`the clock is ${seconds(skewMs)} ${skewMs > 0 ? "ahead of" : "behind"} the control plane's`);
    const jumped = this.#jumped;
    if (jumped !== null && this.#last !== null && this.#last.ms - jumped.atMs < TELL_FOR_MS)
      found.push(`the clock jumped ${jumped.byMs > 0 ? "forward" : "back"} by ${seconds(jumped.byMs)}`);
    return found;
  }
}

const seconds = (ms: number): string => `${(Math.abs(ms) / 1000).toFixed(1)} s`;
