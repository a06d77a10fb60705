import { hostname } from "node:os";
import { enrol } from "../enrol.ts";
import { exchangeThrough } from "../enrol-exchange.ts";
import { openIdentityFiles } from "../identity-files.ts";
import { identityFolder } from "./standalone-link.ts";

/** What to tell the person. @throws EnrolError */
export const enrolHost = async (options: {
  token: string;
  servers: readonly string[];
  dir: string;
  host: string | undefined;
}): Promise<string> => {
  const { token, servers, dir, host = hostname() } = options;
  const files = openIdentityFiles(identityFolder(dir));
  const before = files.read();
  if (before !== null)
    throw new Error(`${dir} holds the identity of ${before.host} already: remove ${identityFolder(dir)} first`);
  const exchange = exchangeThrough(() => servers, Date.now);
  const stored = await enrol({ token, kind: "agent", host, files, exchange });
  // Told when control does not know the servers by a name that we can reach.
  if (stored.servers.length === 0) files.write({ ...stored, servers: [...servers] });
  return `${stored.host} belongs to site ${stored.site} now; its identity is in ${identityFolder(dir)}`;
};
