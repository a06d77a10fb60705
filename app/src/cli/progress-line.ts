import { hasEnded, InvocationState, type Job } from "@homeostat/schemas";
import { stateColour } from "./style.ts";

const REDRAW_MS = 200;
export interface Progressing {
  readonly batch: Pick<Job["request"]["batch"], "ramp" | "concurrency_max">;
  readonly states: ReadonlyMap<string, InvocationState>;
  readonly total: number;
  readonly beganUnixMs: number;
  readonly nowUnixMs: number;
}

export const countsOf = (states: Iterable<InvocationState>): Partial<Record<InvocationState, number>> => {
  const counts: Partial<Record<InvocationState, number>> = {};
  for (const state of states) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
};

/** Waves double from one host on, up to full size; this is the one that has begun last, from 1. null: none, or a window that slides. */
const waveOf = (begun: number, { ramp, concurrency_max }: Progressing["batch"]): number | null => {
  if (!ramp || begun === 0) return null;
  for (let wave = 1, size = 1, end = 0; ; wave += 1, size *= 2) {
    end += Math.min(size, concurrency_max);
    if (begun <= end) return wave;
    if (size >= concurrency_max) return null;
  }
};

/** `12/40 ended, wave 4, succeeded 11, failed 1, running 4; 3.1/s, about 9 s left` */
export const progressText = ({ states, total, batch, beganUnixMs, nowUnixMs }: Progressing): string => {
  const counts = countsOf(states.values());
  const ended = [...states.values()].filter((state) => hasEnded(state)).length;
  const begun = [...states.values()].filter((state) => state !== "queued").length;
  const told = InvocationState.options.flatMap((state) => {
    const count = counts[state] ?? 0;
    return count === 0 ? [] : [stateColour(state, `${state} ${count}`)];
  });
  const elapsedS = Math.max(0.001, (nowUnixMs - beganUnixMs) / 1000);
  const perS = ended / elapsedS;
  const left = ended === 0 || ended === total ? "" : `, about ${Math.ceil((total - ended) / perS)} s left`;
  const wave = waveOf(begun, batch);
  return `${ended}/${total} ended${wave === null ? "" : `, wave ${wave}`}${told.length === 0 ? "" : `, ${told.join(", ")}`}; ${perS.toFixed(1)}/s${left}`;
};

export interface ProgressLine {
  /** Takes the line away while something else is written. */
  around(write: () => void): void;
  stop(): void;
}

/** One line at the foot of a terminal that is written again and again; nothing where there is no terminal. */
export const progressLine = (text: () => string, stream: NodeJS.WriteStream = process.stderr): ProgressLine => {
  if (!stream.isTTY) return { around: (write) => write(), stop: () => undefined };
  let isDrawn = false;
  const clear = (): void => {
    if (isDrawn) stream.write("\r\x1b[K");
    isDrawn = false;
  };
  const draw = (): void => {
    // Without wrapping: a line that is too long must not scroll.
    stream.write(`\r\x1b[K\x1b[?7l${text()}\x1b[?7h`);
    isDrawn = true;
  };
  const timer = setInterval(draw, REDRAW_MS);
  return {
    around: (write) => {
      clear();
      write();
    },
    stop: () => {
      clearInterval(timer);
      clear();
    },
  };
};
