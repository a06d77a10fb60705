import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { join } from "node:path";
import { duplexPair } from "node:stream";
import { type Control, createControl } from "@homeostat/agent/control";
import {
  createSiteServer,
  dialTls,
  exchangeThrough,
  openSiteIdentity,
  type SiteServer,
  type SiteServerOptions,
  type TlsIdentity,
} from "@homeostat/agent/site";
import type { Bus, Log } from "@homeostat/schemas";
import type { DataDir } from "./data-dir.ts";
import { newId } from "./new-id.ts";
import type { Options } from "./options.ts";
import type { OwnAgent } from "./own-agent.ts";
import { pluginKeys, trustedKeys } from "./trusted-keys.ts";
import type { Undo } from "./undo.ts";

interface FleetSetting {
  readonly options: Options;
  readonly dataDir: DataDir;
  readonly bus: Bus;
  readonly now: () => number;
  readonly log: Log;
  readonly undo: Undo;
}

/** A start does not wait longer than this for the lease: another control plane may have it. */
const LEAD_MS_MAX = 5_000;
/** Agents of a server that stops go to others, spread over this. */
const DRAIN_MS = 2_000;
/** Of the certificate of a site server in this process, whose life is a day. */
const RENEW_MS = 6 * 3_600_000;

export const startControl = async (setting: FleetSetting, agent: OwnAgent | null): Promise<Control> => {
  const { options, dataDir, bus, now, log, undo } = setting;
  const control = createControl({
    bus,
    config: options.control,
    dataDir: dataDir.control,
    signingKey: dataDir.signingKey,
    trustedKeys: trustedKeys({ options, dataDir }),
    pluginKeys: pluginKeys({ options, dataDir }),
    ...(agent === null ? {} : { beside: agent }),
    now,
    log,
    newId: () => newId(now()),
  });
  agent?.fetchFrom(control);
  await control.start();
  undo.add("control", () => control.stop());
  await control.leads(AbortSignal.timeout(LEAD_MS_MAX));
  return control;
};

interface SiteSetting extends FleetSetting {
  readonly site: NonNullable<Options["site"]>;
  /** Empty where each server keeps keys of its own. */
  readonly ticketKey: string;
  /** For the first start away from control. */
  readonly token: string;
}

type Way = Pick<SiteServerOptions, "tls" | "uplink"> & { readonly stop: () => void };

/** Beside control in one process: its way there is a pair of streams in memory, its certificate comes at once. */
const besideControl = async (
  { site, log }: SiteSetting,
  control: Control,
  renew: (tls: TlsIdentity) => void,
): Promise<Way> => {
  const identity = async (): Promise<TlsIdentity> => {
    if (control.authority === null) throw new Error("the control plane has not been started");
    return control.authority.identityFor({ kind: "site", site: site.name, name: site.server, names: [hostname()] });
  };
  const renewal = setInterval(() => {
    identity().then(renew, (error: unknown) =>
      log.error({ err: error }, "the site server's certificate could not be renewed"),
    );
  }, RENEW_MS);
  const uplink = () => {
    const [ours, theirs] = duplexPair();
    control.attach(theirs);
    return ours;
  };
  return { tls: await identity(), uplink, stop: () => clearInterval(renewal) };
};

/** In a process of its own: enrolled with a token, and connected to whichever control plane leads. */
const apart = async (
  { site, dataDir, token, now, log }: SiteSetting,
  renew: (tls: TlsIdentity) => void,
): Promise<Way> => {
  let tls: TlsIdentity | null = null;
  const identity = await openSiteIdentity({
    dir: join(dataDir.root, "site"),
    site: site.name,
    server: site.server,
    names: [hostname()],
    token,
    exchange: exchangeThrough(() => site.control, now),
    now,
    random: Math.random,
    onRenewed: (renewed) => {
      tls = renewed;
      renew(renewed);
    },
    log,
  });
  let turn = 0;
  const uplink = async () => {
    const server = site.control[turn++ % site.control.length] ?? "";
    const { socket } = await dialTls({
      server,
      identity: tls ?? identity.tls,
      expected: { kind: "control", site: null },
      now,
    });
    return socket;
  };
  return { tls: identity.tls, uplink, stop: () => identity.stop() };
};

export const startSite = async (setting: SiteSetting, control: Control | null): Promise<SiteServer> => {
  const { site, bus, now, log, undo, ticketKey } = setting;
  let server: SiteServer | null = null;
  const renew = (tls: TlsIdentity): void => server?.renew(tls);
  const way = control === null ? await apart(setting, renew) : await besideControl(setting, control, renew);
  undo.add("site server's identity", way.stop);
  server = createSiteServer({
    site: site.name,
    server: site.server,
    listen: site.listen,
    advertise: site.advertise.length > 0 ? site.advertise : [`${hostname()}:${site.listen.port}`],
    tls: way.tls,
    uplink: way.uplink,
    publish: (host, batches) => bus.publish(batches.map(({ topic, value }) => ({ topic, key: host, value }))),
    now,
    log,
    ...(ticketKey === "" ? {} : { ticketKeys: createHash("sha384").update(ticketKey).digest() }),
  });
  await server.start();
  const started = server;
  undo.add("site server", () => started.stop({ drainMs: DRAIN_MS }));
  return server;
};
