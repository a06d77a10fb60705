#!/usr/bin/env node
// A release holds plain JavaScript; the sources are run as they are, by Node's own stripping of types.
import { existsSync } from "node:fs";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 24) {
  process.stderr.write(`homeostat-agent needs Node 24 or newer; this is ${major}.${minor}\n`);
  process.exit(78);
}
const built = new URL("../setup/agent/src/host/standalone/cli.js", import.meta.url);
const { main } = await import(
  existsSync(built) ? built.href : new URL("../src/host/standalone/cli.ts", import.meta.url).href
);
await main(process.argv.slice(2));
