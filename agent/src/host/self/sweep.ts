/** Once the start is over, what it has left behind goes. */
const FIRST_AFTER_MS = 10_000;
const EVERY_MS = 120_000;

/**
 * V8 goes through all of its memory only when much has been allocated, and an agent that only measures allocates little: what has died old
 * stays for ten minutes and more, and with it the pieces that Node cuts small buffers from. Measured: 0.5 MB more each minute, up to 5 MB. So
 * the agent has V8 go through it, which takes some 20 ms. Without `--expose-gc` nothing happens.
 */
export const createSweep = (): { observe(atMs: number): void } => {
  let dueMs: number | null = null;
  return {
    observe(atMs) {
      dueMs ??= atMs + FIRST_AFTER_MS;
      if (atMs < dueMs) return;
      dueMs = atMs + EVERY_MS;
      globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
    },
  };
};
