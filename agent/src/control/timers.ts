/** Runs something later; `after` returns how to call it off. Tests pass a virtual clock. */
export interface Timers {
  after(ms: number, run: () => void): () => void;
}

/** The process's own timers; they keep no process alive. */
export const processTimers: Timers = {
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or as soon as `signal` aborts. */
export const pause = (ms: number, signal: AbortSignal, timers: Timers): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const finish = () => {
      cancel();
      signal.removeEventListener("abort", finish);
      resolve();
    };
    const cancel = timers.after(ms, finish);
    signal.addEventListener("abort", finish, { once: true });
  });
