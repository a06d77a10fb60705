import { createPublicKey } from "node:crypto";
import { join } from "node:path";
import { type Agent, createAgent } from "../agent.ts";
import { pluginLogSource } from "../plugins/plugin-log.ts";
import { pluginPart } from "../plugins/plugin-part.ts";
import { createSelfPart } from "../self/self-part.ts";
import { holdResult, settleUpdate } from "../update/settle-update.ts";
import { createUpdatePart } from "../update/update-part.ts";
import { createJsonLog } from "./json-log.ts";
import { readRunFile } from "./run-file.ts";
import { connectStandalone } from "./standalone-link.ts";

/** The supervisor starts it again. */
const EX_TEMPFAIL = 75;
const STOP_MS_MAX = 12_000;
const NS_PER_MS = 1e6;
/** Node cuts small buffers from pieces of 64 KB, and one buffer that lives holds the whole piece. */
const POOL_BYTES = 8_192;

/** The process that stays: everything that it loads counts against its memory. */
const main = async (): Promise<void> => {
  Buffer.poolSize = POOL_BYTES;
  const [path] = process.argv.slice(2);
  if (path === undefined) throw new Error("want the run file");
  const { config, configFile, version } = readRunFile(path);
  const { dir } = config;
  const now = Date.now;
  // Not performance.now(), which loads 0.1 MB of Node's measuring.
  const monotonicMs = () => Number(process.hrtime.bigint()) / NS_PER_MS;
  const log = createJsonLog(config.log_level, now);
  const { heldCommandId } = await settleUpdate({ dir, version, now, log });
  const kept = Promise.withResolvers<void>();
  const channel = connectStandalone({ config, version, now, random: Math.random, log });
  let isEnding = false;
  const end = async (code: number, why: string): Promise<void> => {
    if (isEnding) return;
    isEnding = true;
    log.info({ why }, "the agent ends");
    // Whatever hangs: the supervisor must get its turn.
    setTimeout(() => process.exit(code), STOP_MS_MAX).unref();
    await agent.stop();
    await channel.stop();
    process.exit(code);
  };
  const restart = (why: string) => void end(EX_TEMPFAIL, why);
  const agent: Agent = createAgent({
    // Its certificate says who it is.
    config: { ...config.agent, host: channel.host, logs: [...config.agent.logs, pluginLogSource(dir)] },
    dir,
    link: holdResult(channel.link, heldCommandId, kept.promise),
    trustedKeys: channel.trustedKeys,
    now,
    monotonicMs,
    log,
    version,
    site: () => channel.site,
    clockSkewMs: () => channel.clockSkewMs,
    parts: (surface) => [
      pluginPart({
        fetch: (sha256, offset, length) => channel.fetch(sha256, offset, length),
        trustedKeys: config.trust.plugin_keys.map((pem) => createPublicKey(pem)),
        version,
      })(surface),
      createUpdatePart({
        surface,
        config: config.update,
        configFile,
        version,
        fetch: (sha256, offset, length) => channel.fetch(sha256, offset, length),
        restart,
        onKept: heldCommandId === null ? null : kept.resolve,
      }),
      createSelfPart({
        surface,
        limits: config.limits,
        channel,
        heartbeat: () => agent.status(),
        statusFile: join(dir, "status.json"),
        healthyFile: join(dir, "update", "healthy"),
        restart,
      }),
    ],
  });
  process.once("SIGTERM", () => void end(0, "SIGTERM"));
  process.once("SIGINT", () => void end(0, "SIGINT"));
  await agent.start();
  channel.start();
};

await main();
