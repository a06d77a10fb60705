import { createRequire } from "node:module";

interface RequestQueue {
  throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  readonly pending: readonly unknown[];
  checkPendingRequests(): void;
}

// kafkajs's own CHECK_PENDING_REQUESTS_INTERVAL.
const RECHECK_MS = 10;

/**
 * From the first response on kafkajs 2.2.4 checks its queue every millisecond for ever, because it sets a timer for the end of a
 * throttling that is not there (tulios/kafkajs#1704); the time is negative, for which Node 24 prints TimeoutNegativeWarning (#1751).
 * With nothing pending there is nothing to check, and a later request checks for itself.
 */
export const mendRequestQueue = (): void => {
  const { prototype } = createRequire(import.meta.url)("kafkajs/src/network/requestQueue/index.js") as {
    prototype: { scheduleCheckPendingRequests(this: RequestQueue): void };
  };
  prototype.scheduleCheckPendingRequests = function () {
    if (this.throttleCheckTimeoutId !== null || this.pending.length === 0) return;
    const throttledMs = this.throttledUntil - Date.now();
    this.throttleCheckTimeoutId = setTimeout(
      () => {
        this.throttleCheckTimeoutId = null;
        this.checkPendingRequests();
      },
      throttledMs > 0 ? throttledMs : RECHECK_MS,
    );
  };
};
