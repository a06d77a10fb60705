const objectIn = (value: unknown, key: string): unknown =>
  value !== null && typeof value === "object" ? (value as Record<string, unknown>)[key] : undefined;

/** As far as a thing that could not be verified says for which invocation it is. */
export const namesOf = (value: unknown): { commandId: string; executor: string; host: string } | null => {
  const grant = objectIn(objectIn(value, "signed"), "grant");
  const [commandId, executor, host] = [
    objectIn(grant, "command_id"),
    objectIn(grant, "executor"),
    objectIn(value, "host"),
  ];
  if (typeof commandId !== "string" || commandId.length === 0 || commandId.length > 128) return null;
  if (typeof host !== "string") return null;
  return { commandId, host, executor: typeof executor === "string" ? executor.slice(0, 64) : "" };
};
