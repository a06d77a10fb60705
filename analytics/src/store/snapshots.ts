import { randomUUID } from "node:crypto";
import { detectorSnapshot, detectorSnapshotAt } from "../queries/detector-snapshot.ts";
import type { JsonInsert } from "./insert.ts";
import type { Store } from "./store.ts";

interface SnapshotsPorts {
  readonly run: Store["run"];
  readonly insertJson: (insert: JsonInsert) => Promise<void>;
  readonly now: () => number;
}

export const createSnapshots = ({ run, insertJson, now }: SnapshotsPorts): Store["snapshots"] => {
  const newestAt = new Map<string, number>();
  const idOf = (name: string, key: string): string => JSON.stringify([name, key]);
  /** Later than all before it, also when the clock was ahead or another's is: what was saved last is what is loaded. */
  const savedAt = async (name: string, key: string): Promise<number> => {
    const id = idOf(name, key);
    const before = newestAt.get(id) ?? (await run(detectorSnapshotAt, { name, key }))[0]?.at_unix_ms ?? 0;
    const at = Math.max(now(), before + 1);
    newestAt.set(id, at);
    return at;
  };
  return {
    load: async (name, key) => {
      // Who loads may have had it before, and another one since.
      newestAt.delete(idOf(name, key));
      const [row] = await run(detectorSnapshot, { name, key });
      return row === undefined ? null : Buffer.from(row.state, "base64");
    },
    save: async (name, key, version, bytes) => {
      const row = { name, key, version, state: Buffer.from(bytes).toString("base64"), at: await savedAt(name, key) };
      // The token of each save is its own: a later one of the same version is no repetition.
      await insertJson({ table: "detector_snapshots", rows: [row], dedupToken: randomUUID() });
    },
  };
};
