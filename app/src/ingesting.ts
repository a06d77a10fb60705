import { createLedgerWatch, createSpace, readBalances } from "@homeostat/analytics";
import { createIngest, type Ingest, type InsertPort } from "@homeostat/ingest";
import type { Bus, Finding, Log } from "@homeostat/schemas";
import { waitingBatches } from "./health.ts";
import type { LiveStore } from "./live-store.ts";
import type { Options } from "./options.ts";
import type { Job } from "./schedule.ts";
import type { Undo } from "./undo.ts";

export interface IngestSite {
  readonly options: Options;
  readonly bus: Bus;
  readonly store: LiveStore;
  readonly host: string;
  readonly reportFinding: (finding: Finding) => Promise<void>;
  readonly now: () => number;
  readonly log: Log;
  readonly undo: Undo;
}

/** The accounts are read as a whole; a difference is told when it has stayed for minutes. */
const LEDGER_WHEN = "*/2 * * * *";

/** From the bus into the store, as long as its disks have room. */
export const startIngesting = async (site: IngestSite): Promise<{ ingest: Ingest; jobs: readonly Job[] }> => {
  const { options, bus, store, host, reportFinding, now, log, undo } = site;
  // A server may hold more than this database: there the operator has to ask for it.
  const isGuarded = options.analytics.space.enabled ?? options.store.kind === "embedded";
  const config = options.analytics;
  const space = isGuarded
    ? createSpace({ store: store.current, config, host, publish: reportFinding, now, log })
    : null;
  const insert: InsertPort = {
    insertNative: async (native) => {
      space?.admit();
      return store.current().insertNative(native);
    },
    insertJson: (json) => store.current().insertJson(json),
    lastSequences: (topic, partition) => store.current().lastSequences(topic, partition),
  };
  const ingest = createIngest({ bus, insert, config: options.ingest, now, log, reportFinding, host });
  await ingest.start();
  undo.add("ingest", () => ingest.stop());
  const ledger = createLedgerWatch({
    now,
    publish: reportFinding,
    read: () => readBalances({ run: store.current().run, waiting: () => waitingBatches(bus) }),
  });
  const jobs: readonly Job[] = [
    { name: "ledger", when: LEDGER_WHEN, run: () => ledger.check() },
    ...(space === null ? [] : [{ name: "space", when: "* * * * *", isAtStart: true, run: () => space.check() }]),
  ];
  return { ingest, jobs };
};
