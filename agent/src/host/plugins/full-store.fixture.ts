/** For tests: has what is wished written down on a disk that takes only the beginning of it. Argument: the agent's directory. */
import { PluginManifest } from "@homeostat/schemas";
import { quietLog } from "../quiet-log.fixture.ts";
import { PluginStore } from "./store.ts";

// Beyond the limit on a file's size: the write is to fail instead.
process.on("SIGXFSZ", () => undefined);
const [, , dir = ""] = process.argv;
const store = new PluginStore({ dir, log: quietLog });
store.writeDesired({ revision: 1, plugins: [] });
const manifest = PluginManifest.parse({ name: "demo", version: "1.0.0", kind: "static", run: { command: "run.sh" } });
const release = { manifest, sha256: "0".repeat(64), size_bytes: 1, key_id: "k", signature: "" };
const plugin = { release, config: { text: "x".repeat(60_000) }, pinned: false, enabled: true, wished_at_unix_ms: 2 };
let failure = "none";
try {
  store.writeDesired({ revision: 2, plugins: [plugin] });
} catch (error) {
  failure = error instanceof Error && "code" in error ? String(error.code) : String(error);
}
process.stdout.write(JSON.stringify({ failure, revision: store.desired()?.revision ?? null }));
