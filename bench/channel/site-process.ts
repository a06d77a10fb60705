import { createSiteServer, dialTls, type SiteServer, type TlsIdentity } from "@homeostat/agent/site";
import { takeOrders } from "./child.ts";
import { silentLog, warnLog } from "./quiet-log.ts";

/* A site server in a process of its own. */

export interface StartSite {
  readonly server: string;
  readonly port: number;
  readonly advertise: readonly string[];
  readonly controlPort: number;
  readonly tls: TlsIdentity;
  readonly ticketKeys: Uint8Array;
  readonly isQuiet: boolean;
}

/** All agents of a benchmark come from one address, and want to be enrolled at once. */
const PENDING_MAX = 20_000;
const ENROLMENTS_PER_S = 10_000;

let site: SiteServer | null = null;

takeOrders({
  start: async ({ server, port, advertise, controlPort, tls, ticketKeys, isQuiet }: StartSite): Promise<string> => {
    site = createSiteServer({
      site: "bench",
      server,
      listen: { host: "127.0.0.1", port },
      advertise,
      tls,
      ticketKeys: Buffer.from(ticketKeys),
      uplink: async () => {
        const expected = { kind: "control", site: null } as const;
        return (await dialTls({ server: `127.0.0.1:${controlPort}`, identity: tls, expected, now: Date.now })).socket;
      },
      publish: async () => undefined,
      limits: { pendingMax: PENDING_MAX, pendingPerAddressMax: PENDING_MAX, enrolmentsPerS: ENROLMENTS_PER_S },
      now: Date.now,
      log: isQuiet ? silentLog : warnLog,
    });
    await site.start();
    return site.address;
  },
  stats: () => site?.stats(),
  collect: () => globalThis.gc?.(),
  stop: () => site?.stop(),
});
