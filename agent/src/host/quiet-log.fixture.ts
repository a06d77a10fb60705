import type { Log } from "@homeostat/schemas";

const ignore = () => undefined;

/** For tests. */
export const quietLog: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
