import type { Log } from "@homeostat/schemas";

const nothing = (): void => undefined;
const warn = (fields: object, message: string): void => {
  const shown = JSON.stringify(fields, (_key, value: unknown) => (value instanceof Error ? value.message : value));
  process.stderr.write(`${message} ${shown}\n`);
};

/** What is wrong is told; a measurement with retries in it is none. */
export const warnLog: Log = { debug: nothing, info: nothing, warn, error: warn };
/** Where things are killed by intent, complaints are the rule. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
