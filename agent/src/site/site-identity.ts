import type { Log } from "@homeostat/schemas";
import type { TlsIdentity } from "../channel/tls-identity.ts";
import { type Exchange, enrol } from "../host/enrol.ts";
import { openIdentityFiles, type StoredIdentity, tlsIdentityOf } from "../host/identity-files.ts";
import { createRenewal } from "../host/renewal.ts";

export interface SiteIdentityOptions {
  /** The server's own: key and certificate. */
  readonly dir: string;
  readonly site: string;
  readonly server: string;
  /** DNS names and addresses that agents reach it by. */
  readonly names: readonly string[];
  /** For the first start; empty afterwards. */
  readonly token: string;
  readonly exchange: Exchange;
  readonly now: () => number;
  readonly random: () => number;
  readonly onRenewed: (tls: TlsIdentity) => void;
  readonly log: Log;
}

export interface SiteIdentity {
  readonly tls: TlsIdentity;
  stop(): void;
}

const afterMs = (ms: number, run: () => void): (() => void) => {
  const timer = setTimeout(run, ms);
  timer.unref();
  return () => clearTimeout(timer);
};

/**
 * The certificate of a site server away from its platform: enrolled with the token at the first start, renewed by itself from then on.
 * @throws Error without a token before the enrolment, or when the certificate is for another server
 */
export const openSiteIdentity = async (options: SiteIdentityOptions): Promise<SiteIdentity> => {
  const { dir, site, server, names, token, exchange, now, random, onRenewed, log } = options;
  const files = openIdentityFiles(dir);
  const stored = files.read();
  if (stored === null && token === "")
    throw new Error(
      `the site server ${server} is not enrolled yet: put a token (homeostat enroll token --for site --site ${site}) where \`site.token\` says`,
    );
  const identity: StoredIdentity =
    stored ?? (await enrol({ token, kind: "site", host: server, names, files, exchange }));
  if (identity.kind !== "site" || identity.site !== site || identity.host !== server)
    throw new Error(
      `${dir} holds the identity of ${identity.kind} ${identity.host} of ${identity.site}, not of site server ${server} of ${site}`,
    );
  const renewal = createRenewal({
    identity,
    files,
    askInSession: null,
    exchange,
    names,
    now,
    after: afterMs,
    random,
    onRenewed: (renewed) => onRenewed(tlsIdentityOf(renewed)),
    log,
  });
  renewal.start();
  return { tls: tlsIdentityOf(identity), stop: () => renewal.stop() };
};
