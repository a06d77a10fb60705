import { generateKeyPairSync, randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { duplexPair } from "node:stream";
import { ControlConfig, createControl } from "@homeostat/agent/control";
import { createSiteServer } from "@homeostat/agent/site";
import { createEmbeddedBus } from "@homeostat/app";
import { type Log, topics } from "@homeostat/schemas";

/* Bus, control and a site server in a process of their own, so that nothing of them counts as the agent's. Says on one line where and with which token. */

const LEAD_MS_MAX = 30_000;
const TOKEN_MS = 600_000;
const SITE = "bench";

const quiet = () => undefined;
const stderr = (fields: object, message: string) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
const log: Log = { debug: quiet, info: quiet, warn: stderr, error: stderr };

const main = async (): Promise<void> => {
  const [dir] = process.argv.slice(2);
  if (dir === undefined) throw new Error("want a folder");
  mkdirSync(dir, { recursive: true });
  const bus = await createEmbeddedBus({ dir: join(dir, "bus"), topics: topics(), now: Date.now, log });
  const { privateKey: signingKey } = generateKeyPairSync("ed25519");
  const config = ControlConfig.parse({});
  const control = createControl({ bus, config, dataDir: dir, signingKey, now: Date.now, log, newId: randomUUID });
  await control.start();
  await control.leads(AbortSignal.timeout(LEAD_MS_MAX));
  if (control.authority === null || control.identities === null) throw new Error("control does not lead");
  const names = ["127.0.0.1", "localhost"];
  const tls = await control.authority.identityFor({ kind: "site", site: SITE, name: "s1", names });
  const site = createSiteServer({
    site: SITE,
    server: "s1",
    listen: { host: "127.0.0.1", port: 0 },
    advertise: [],
    tls,
    uplink: () => {
      const [ofSite, ofControl] = duplexPair();
      control.attach(ofControl);
      return ofSite;
    },
    publish: (host, batches) =>
      bus.publish(batches.map(({ topic, value }) => ({ topic, key: host, value: Buffer.from(value) }))).then(quiet),
    now: Date.now,
    log,
  });
  await site.start();
  const token = await control.identities.createToken(
    { for: "agent", site: SITE, uses: 100, ttl_ms: TOKEN_MS },
    "bench",
  );
  if ("refused" in token) throw new Error(token.message);
  process.stdout.write(`${JSON.stringify({ server: site.address, token: token.text })}\n`);
  process.once("SIGTERM", () => process.exit(0));
};

await main();
