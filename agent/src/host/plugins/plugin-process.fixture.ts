/**
 * An agent's host of plugins in a process of its own, to be killed. Arguments: its directory; a file with {"artefact": base64, "release",
 * "publisher": PEM}; where it kills itself: "fetch", "unpacked", "start", "well" or "never". Says "well" when the plugin is.
 */
import { createPublicKey } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PluginRelease } from "@homeostat/schemas";
import { confineBy } from "../executor/child-limits.ts";
import { createExecutorRegistry } from "../executor/registry.ts";
import { createPluginHost } from "./plugin-host.ts";

const [dir = "", file = "", at = ""] = process.argv.slice(2);
const { artefact, release: value, publisher } = JSON.parse(readFileSync(file, "utf8"));
const release = PluginRelease.parse(value);
const bytes = Buffer.from(artefact, "base64");
const die = (point: string) => {
  if (point === at) process.kill(process.pid, "SIGKILL");
};
const series = () => ({ record: () => undefined });
const confine = confineBy({ cgroups: null, pidsMax: 64 });
const host = createPluginHost({
  dir,
  fetch: async (_, offset, length) => {
    if (offset > 0) die("fetch");
    return bytes.subarray(offset, offset + length);
  },
  trustedKeys: [createPublicKey(publisher)],
  denied: [],
  executors: createExecutorRegistry(),
  sink: { gauge: series, counter: series },
  builtins: [],
  confine: (...asked) => {
    die("start");
    return confine(...asked);
  },
  now: Date.now,
  random: () => 0.5,
  log: {
    debug: () => undefined,
    info: (_, message) => {
      if (message === "a plugin is well") die("well");
    },
    warn: () => undefined,
    error: () => undefined,
  },
  onChange: () => {
    // The first change of state on disk comes when the tree is in its place.
    if (readdirSync(join(dir, "plugins")).includes(release.manifest.name)) die("unpacked");
  },
});
await host.start();
await host.desired({
  revision: 1,
  plugins: [{ release, config: {}, pinned: false, enabled: true, wished_at_unix_ms: 1 }],
});
await host.settled();
process.stdout.write("well\n");
