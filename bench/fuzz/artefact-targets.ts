import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { flawOf, MANIFEST_FILE, unpack } from "@homeostat/agent/testing";
import { canonicalJson, PluginManifest } from "@homeostat/schemas";
import { damageBytes } from "./byte-damage.ts";
import type { Dice } from "./dice.ts";
import { damageJson } from "./json-damage.ts";
import type { Outcome, Target } from "./targets.ts";
import { Violation } from "./world.ts";

/** Each case is a process of its own. */
const UNPACK_COST = 1_000;
const UNPACK_MS_MAX = 20_000;
const BLOCK = 512;
const ANY_EXECUTE = 0o111;
const SETUID_SETGID_STICKY = 0o7000;

const MANIFEST = PluginManifest.parse({
  name: "disks",
  version: "1.2.3",
  kind: "static",
  run: { command: "bin/disks", args: ["--all"] },
  collects: true,
  executors: [{ name: "disks.trim", risk: "reversible", args_schema: { type: "object", properties: {} } }],
});
const manifestText = Buffer.from(JSON.stringify(MANIFEST));

/** Where the fields of a header stand (POSIX.1-1988, ustar): offset and bytes. */
const FIELDS = {
  name: [0, 100],
  mode: [100, 8],
  size: [124, 12],
  checksum: [148, 8],
  type: [156, 1],
  link: [157, 100],
  magic: [257, 8],
  prefix: [345, 155],
} as const;
type Field = keyof typeof FIELDS;

const put = (header: Buffer, field: Field, text: string): void => {
  const [at, bytes] = FIELDS[field];
  header.fill(0, at, at + bytes);
  header.write(text.slice(0, bytes), at, "latin1");
};

/** Over all of it, its own place taken as blanks. */
const seal = (header: Buffer): void => {
  put(header, "checksum", " ".repeat(8));
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(header, "checksum", `${sum.toString(8).padStart(6, "0")}\0 `);
};

const entry = (name: string, content: Buffer, over: Partial<Record<Field, string>> = {}): Buffer => {
  const header = Buffer.alloc(BLOCK);
  const fields = { name, mode: "0000755\0", size: `${content.length.toString(8).padStart(11, "0")}\0`, type: "0" };
  for (const [field, text] of Object.entries({ ...fields, magic: "ustar\x0000", ...over }))
    put(header, field as Field, text);
  seal(header);
  return Buffer.concat([header, content, Buffer.alloc(-content.length & (BLOCK - 1))]);
};

const END = Buffer.alloc(2 * BLOCK);
const SCRIPT = Buffer.from("#!/bin/sh\nexit 0\n");
const WHOLE = [
  entry(MANIFEST_FILE, manifestText),
  entry("bin/", Buffer.alloc(0), { type: "5" }),
  entry("bin/disks", SCRIPT),
];

/** What an artefact may not bring, or may not bring twice. */
const HOSTILE = [
  entry("../escaped", SCRIPT),
  entry("/escaped", SCRIPT),
  entry("bin/../../escaped", SCRIPT),
  entry("link", Buffer.alloc(0), { type: "2", link: ".." }),
  entry("link/escaped", SCRIPT),
  entry("bin/disks", Buffer.alloc(0), { type: "1", link: "../../escaped" }),
  entry("bin", SCRIPT),
  entry("bin/disks/x", SCRIPT),
  entry("device", Buffer.alloc(0), { type: "3" }),
  entry("pipe", Buffer.alloc(0), { type: "6" }),
  entry("setuid", SCRIPT, { mode: "0004755\0" }),
  entry("huge", Buffer.alloc(0), { size: "77777777777\0" }),
  entry("negative", Buffer.alloc(0), { size: "-0000000001\0" }),
  entry("pax", Buffer.from("25 path=../../escaped-pax\n"), { type: "x" }),
  entry("long", Buffer.from("../../escaped-long\0"), { type: "L" }),
  entry("a\u0001b", SCRIPT),
  entry("deep/".repeat(19), SCRIPT),
];

const FIELD_TEXTS = [
  "..",
  "/etc/x",
  "../x",
  "",
  "\xff\xff",
  "77777777777",
  "\x80\x00\x00\x00",
  "0006777",
  "7",
  "x",
  "K",
];

const damageHeader = (archive: Buffer, dice: Dice): Buffer => {
  const damaged = Buffer.from(archive);
  const at = dice.below(Math.floor(archive.length / BLOCK)) * BLOCK;
  const header = damaged.subarray(at, at + BLOCK);
  put(header, dice.pick(Object.keys(FIELDS) as Field[]), dice.pick(FIELD_TEXTS));
  seal(header);
  return damaged;
};

const makeArtefact = (dice: Dice): Buffer => {
  const entries = [...WHOLE];
  const kind = dice.below(6);
  if (kind === 0) return gzipSync(Buffer.concat([...entries, END]));
  if (kind <= 2)
    for (let time = 0; time <= dice.below(3); time++)
      entries.splice(dice.below(entries.length + 1), 0, dice.pick(HOSTILE));
  const archive = Buffer.concat([...entries, END]);
  if (kind <= 2) return gzipSync(archive);
  if (kind === 3) return damageBytes(gzipSync(archive), dice, archive);
  return gzipSync(kind === 4 ? damageHeader(archive, dice) : damageBytes(archive, dice, archive));
};

/** All that is below; @throws Violation for what an artefact may not leave. */
const filesBelow = (directory: string): number => {
  let count = 0;
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    const stat = lstatSync(path);
    if (!stat.isFile() && !stat.isDirectory()) throw new Violation(`${path} is neither file nor directory`);
    if ((stat.mode & SETUID_SETGID_STICKY) !== 0) throw new Violation(`${path} has mode ${stat.mode.toString(8)}`);
    count += stat.isFile() ? 1 : filesBelow(path);
  }
  return count;
};

/** In a folder within a folder, so that what gets out is seen. */
const unpackOne = async (dir: string, input: Buffer): Promise<Outcome> => {
  const around = mkdtempSync(join(dir, "unpack-"));
  try {
    const artefact = join(around, "artefact");
    const into = join(around, "a", "b");
    mkdirSync(into, { recursive: true });
    writeFileSync(artefact, input);
    const answer = await unpack(artefact, { into, timeoutMs: UNPACK_MS_MAX });
    const isAlone = readdirSync(around).sort().join() === "a,artefact" && readdirSync(join(around, "a")).join() === "b";
    if (!isAlone) throw new Violation("it left something outside of its folder");
    const files = filesBelow(into);
    if ("refused" in answer) return "refused";
    if (files > answer.files) throw new Violation(`${files} files, it says ${answer.files}`);
    return "taken";
  } finally {
    rmSync(around, { recursive: true, force: true });
  }
};

/** Plugins as they are unpacked on a host: the archive, and the manifest in it. */
export const artefactTargets = (dir: string): Target[] => {
  const root = join(dir, "plugin");
  mkdirSync(join(root, "bin"), { recursive: true });
  writeFileSync(join(root, "bin", "disks"), SCRIPT);
  chmodSync(join(root, "bin", "disks"), 0o644 | ANY_EXECUTE);
  return [
    {
      name: "artefact",
      cost: UNPACK_COST,
      make: makeArtefact,
      runGroup: async (_world, inputs) => {
        const outcomes: Outcome[] = [];
        for (const input of inputs) outcomes.push(await unpackOne(dir, input));
        return outcomes;
      },
    },
    {
      name: "manifest",
      make: (dice) => (dice.below(8) === 0 ? manifestText : damageJson(manifestText, dice, manifestText)),
      runGroup: async (_world, inputs) =>
        inputs.map((input) => {
          writeFileSync(join(root, MANIFEST_FILE), input);
          const flaw = flawOf(root, MANIFEST);
          if (flaw !== null) return "refused";
          // Defaults may be told or left out.
          const inside = PluginManifest.parse(JSON.parse(input.toString("utf8")));
          if (canonicalJson(inside) !== canonicalJson(MANIFEST)) throw new Violation("another manifest was taken");
          return "taken";
        }),
    },
  ];
};
