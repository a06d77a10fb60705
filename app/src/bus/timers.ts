/** Runs something later; returns how to call it off. Tests pass a virtual clock. */
export type After = (ms: number, run: () => void) => () => void;

export const afterWallTime: After = (ms, run) => {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
};

/** Resolves after `ms`, or at once when `signal` aborts: look at the signal to tell which. */
export const pause = (ms: number, signal: AbortSignal, after: After): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const finish = () => {
      cancel();
      signal.removeEventListener("abort", finish);
      resolve();
    };
    const cancel = after(ms, finish);
    signal.addEventListener("abort", finish, { once: true });
  });
