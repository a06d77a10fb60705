import { Finding } from "@homeostat/schemas";
import { z } from "zod";
import { resolved } from "../episode.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Watch } from "./watch.ts";

export const SavedWatches = z.array(
  z.strictObject({ key: z.string(), rule: z.string(), json: z.unknown(), open: z.array(Finding) }),
);

export const saveWatches = (
  watches: readonly Watch<never>[],
): { readonly json: z.input<typeof SavedWatches>; readonly columns: Snapshot["columns"] } => {
  const columns: Record<string, Float64Array> = {};
  const json = watches.map((watch, index) => {
    const saved = watch.save();
    for (const [name, values] of Object.entries(saved.columns)) columns[`${index}/${name}`] = values;
    return { key: watch.key, rule: watch.rule, json: saved.json, open: [...saved.open] };
  });
  return { json, columns };
};

/** Gives each rule its state back. What fires for a rule that is no more, or is another now, is taken back: these findings. */
export const loadWatches = (
  watches: readonly Watch<never>[],
  json: z.infer<typeof SavedWatches>,
  columns: Snapshot["columns"],
): readonly Finding[] => {
  const orphans: Finding[] = [];
  json.forEach((saved, index) => {
    const watch = watches.find(({ key }) => key === saved.key);
    if (watch === undefined) {
      orphans.push(
        ...saved.open.map((finding) => resolved(finding, { summary: `Rule ${saved.rule} has changed or is gone.` })),
      );
      return;
    }
    const prefix = `${index}/`;
    const own = Object.entries(columns).filter(([name]) => name.startsWith(prefix));
    const ownColumns = Object.fromEntries(own.map(([name, values]) => [name.slice(prefix.length), values]));
    watch.load({ json: saved.json, columns: ownColumns, open: saved.open });
  });
  return orphans;
};
