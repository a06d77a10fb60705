import { z } from "zod";
import { gateways } from "../queries/gateways.ts";
import { heartbeats } from "../queries/heartbeats.ts";
import { ledgerAccounts } from "../queries/ledger-accounts.ts";
import { Balance, ledgerBalances } from "../queries/ledger-balance.ts";
import type { Store } from "../store/store.ts";
import { abandoned } from "./abandoned.ts";
import { ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";

/** How many batches of each topic of telemetry wait on the bus. */
export type WaitingPort = () => Promise<ReadonlyMap<string, number>>;

export interface LedgerPorts {
  readonly run: Store["run"];
  readonly waiting?: WaitingPort;
}

/** Order matters: what the senders told must be older than what is said of the bus, and that older than what is read of the ledger. */
export const readBalances = async (
  { run, waiting }: LedgerPorts,
  signal?: AbortSignal,
): Promise<readonly Balance[]> => {
  const options = signal === undefined ? {} : { signal };
  const [beats, reports] = await Promise.all([run(heartbeats, {}, options), run(gateways, {}, options)]);
  const waits = waiting === undefined ? null : await waiting();
  const accounts = await run(ledgerAccounts, {}, options);
  return ledgerBalances({
    heartbeats: beats.map(({ record }) => record),
    gateways: reports.map(({ record }) => record),
    accounts,
    waiting: waits,
  });
};

export const ledgerRoutes = (api: ApiInstance, ports: LedgerPorts & { readonly now: () => number }): void => {
  api.get(
    "/ledger",
    {
      schema: {
        summary: "What became of every row that was produced, by sender and topic",
        querystring: z.strictObject({
          host: z.string().max(300).optional().describe("one host or gateway"),
          since_ms: z.coerce
            .number()
            .int()
            .min(0)
            .optional()
            .describe("only senders that told something in so many last ms"),
        }),
        response: {
          200: z.strictObject({ ledger: z.array(Balance).readonly(), now_unix_ms: z.number() }),
          "4xx": ErrorBody,
          "5xx": ErrorBody,
        },
      },
    },
    async ({ query: { host, since_ms } }, reply) => {
      const now_unix_ms = ports.now();
      const since = since_ms === undefined ? 0 : now_unix_ms - since_ms;
      const balances = await readBalances(ports, abandoned(reply));
      const isWanted = ({ sender, told_at_unix_ms }: Balance) =>
        (host === undefined || sender === host) && (told_at_unix_ms === null || told_at_unix_ms >= since);
      return { ledger: balances.filter(isWanted), now_unix_ms };
    },
  );
};
