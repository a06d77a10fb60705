#!/usr/bin/env node
// Plain JavaScript, so that an older Node can read it and say what is wrong, and so that the compile cache is on before the first
// TypeScript file: with a warm cache Node need not load its type stripper, which costs 30 MB and 0.1 s a process.
import nodeModule from "node:module";
import { fileURLToPath } from "node:url";

const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  process.stderr.write(
    `homeostat needs Node 24 or newer and this is ${process.versions.node}. Run it through npm (npm start, npx homeostat), which finds the pinned one.\n`,
  );
  process.exit(2);
}
nodeModule.enableCompileCache(fileURLToPath(new URL("../../node_modules/.cache/homeostat", import.meta.url)));
await import("../src/main.ts");
