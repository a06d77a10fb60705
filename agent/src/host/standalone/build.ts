import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle, type Resolve, relativeModule } from "./bundle.ts";

/** Where the sources stand: the folder that holds `agent` and `schemas`. */
const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..", "..");
const SCHEMAS = "schemas/src";
const HERE = "agent/src/host/standalone";
/** What stays for as long as the agent does, and beside it what it starts. */
const RESIDENT_ENTRIES = [`${HERE}/main.ts`, `${HERE}/self-test.ts`];
/** What runs for a moment, and may be as large as it likes: with zod itself, module by module. */
const BRIEF_ENTRY = `${HERE}/cli.ts`;
const FILES_MAX = 400;
const PACKAGES_MAX = 64;

/** `from "x"`, `import("x")`, as this house's formatter writes them. */
const SPECIFIER = /(\bfrom |\bimport\(|^import )"([^"\n]+)"/gm;
const SCHEMAS_IMPORT = /^(import|export) \{([^}]*)\} from "@homeostat\/schemas";/gm;
/** A script that is run as a child. */
const CHILD = /\bnew URL\("(\.[^"\n]+)\.ts", import\.meta\.url\)/g;

/**
 * Makes a release of the agent: a folder of plain JavaScript and the few packages that it may need, which any Node 24 runs. What stays
 * resident is one script without zod (small-zod.ts) and without those of our records that it does not use; its types are stripped ahead,
 * because Node's own stripping would take some 15 MB in the running agent. Answers a digest over all that was made.
 * @throws Error for a file or package that is not there
 */
export const buildRelease = (out: string, version: string): string => {
  const digest = createHash("sha256");
  const packages = new Set(["zod"]);
  const write = (path: string, text: string): void => {
    digest.update(`${path}\n${text}`);
    mkdirSync(dirname(join(out, path)), { recursive: true });
    writeFileSync(join(out, path), text);
  };
  writeResident(write, packages);
  writeBrief(write, packages);
  const manifest = { name: "homeostat-agent", version, private: true, type: "module" };
  write("package.json", `${JSON.stringify(manifest, null, 2)}\n`);
  write("plugin.json", `${JSON.stringify(pluginManifest(version), null, 2)}\n`);
  cpSync(join(ROOT, "agent", "bin"), join(out, "bin"), { recursive: true });
  copyPackages(packages, out);
  return digest.digest("hex");
};

/** So that a release is published, signed and served as plugins are. It is run by its supervisor, never as a plugin. */
const pluginManifest = (version: string) => ({
  name: "homeostat-agent",
  version,
  kind: "static",
  run: { command: "bin/homeostat-agent.sh", args: [] },
});

type Write = (path: string, text: string) => void;

const writeResident = (write: Write, packages: Set<string>): void => {
  const pending = [...RESIDENT_ENTRIES];
  const done = new Set<string>();
  const resolve: Resolve = (specifier, from) => {
    if (specifier === "zod") return { module: `${HERE}/small-zod.ts` };
    if (specifier.startsWith(".")) return { module: relativeModule(specifier, from) };
    if (!specifier.startsWith("node:")) packages.add(packageOf(specifier));
    return { package: specifier };
  };
  const load = (path: string): string => {
    const text = sourceOf(path);
    for (const [, child = ""] of text.matchAll(CHILD)) pending.push(relativeModule(`${child}.ts`, path));
    return childrenInRelease(text);
  };
  for (let entry = pending.pop(); entry !== undefined; entry = pending.pop()) {
    if (done.has(entry)) continue;
    done.add(entry);
    write(`lib/${entry.replace(/\.ts$/, ".js")}`, bundle(entry, load, resolve));
  }
  write("lib/package.json", '{ "type": "commonjs" }\n');
};

const childrenInRelease = (text: string): string => text.replace(CHILD, 'new URL("$1.js", import.meta.url)');

const writeBrief = (write: Write, packages: Set<string>): void => {
  const pending = [BRIEF_ENTRY];
  const done = new Set<string>();
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (done.has(path)) continue;
    done.add(path);
    if (done.size > FILES_MAX) throw new Error(`a release of more than ${FILES_MAX} files: ${path}`);
    const from = path;
    const text = childrenInRelease(sourceOf(path)).replace(SPECIFIER, (whole, before: string, specifier: string) => {
      if (!specifier.startsWith(".")) {
        if (!specifier.startsWith("node:")) packages.add(packageOf(specifier));
        return whole;
      }
      pending.push(relativeModule(specifier, from));
      return `${before}"${specifier.replace(/\.ts$/, ".js")}"`;
    });
    write(`setup/${path.replace(/\.ts$/, ".js")}`, text);
  }
};

/** With its types gone, and each of our records from the file that makes it: the front door would load all records of the platform. */
const sourceOf = (path: string): string =>
  stripTypeScriptTypes(readFileSync(join(ROOT, path), "utf8"), { mode: "strip" }).replace(
    SCHEMAS_IMPORT,
    (_, verb: string, names: string) => fromSchemas(verb, names, path),
  );

const fromSchemas = (verb: string, names: string, path: string): string => {
  const byFile = new Map<string, string[]>();
  for (const name of names.split(",").map((one) => one.trim())) {
    if (name === "") continue;
    const file = fileOfName(name.split(" ")[0] ?? "");
    byFile.set(file, [...(byFile.get(file) ?? []), name]);
  }
  const lines = [...byFile].map(([file, all]) => {
    const to = relative(dirname(path), `${SCHEMAS}/${file}`).split(sep).join("/");
    return `${verb} { ${all.join(", ")} } from "${to.startsWith(".") ? to : `./${to}`}";`;
  });
  return lines.join("\n");
};

let doors: ReadonlyMap<string, string> | null = null;

const fileOfName = (name: string): string => {
  doors ??= readFrontDoor();
  const file = doors.get(name);
  if (file === undefined) throw new Error(`@homeostat/schemas has no ${name}`);
  return file;
};

const readFrontDoor = (): ReadonlyMap<string, string> => {
  const text = stripTypeScriptTypes(readFileSync(join(ROOT, SCHEMAS, "index.ts"), "utf8"), { mode: "strip" });
  const found = new Map<string, string>();
  for (const [, names = "", file = ""] of text.matchAll(/export \{([^}]*)\} from "\.\/([^"]+)"/g))
    for (const name of names.split(",")) found.set(name.trim(), file);
  return found;
};

/** `@scope/name/part` and `name/part` are of the package in front. */
const packageOf = (specifier: string): string => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");

/** With all that they need in turn; packages of their own folder first, as Node looks for them. */
const copyPackages = (names: ReadonlySet<string>, out: string): void => {
  const pending = [...names].map((name) => ({ name, from: join(ROOT, "agent") }));
  const done = new Set<string>();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const dir = packageDir(next.name, next.from);
    if (dir === null || done.has(dir)) continue;
    done.add(dir);
    if (done.size > PACKAGES_MAX) throw new Error(`a release with more than ${PACKAGES_MAX} packages: ${next.name}`);
    cpSync(dir, join(out, relative(ROOT, dir).replace(/^agent[\\/]/, "")), { recursive: true, filter: isNeeded });
    const manifest = JSON.parse(readFileSync(join(dir, "package.json"), "utf8")) as {
      dependencies?: Record<string, string>;
      optionalDependencies?: Record<string, string>;
    };
    for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }))
      pending.push({ name, from: dir });
  }
};

/** Types, sources and maps are not for machines that only run it. */
const isNeeded = (source: string): boolean =>
  !/\.(d\.[cm]?ts|map|md|ts|cts|mts)$/.test(source) && !/[\\/](src|v3)$/.test(source);

/** null: an optional one that is not for this platform. */
const packageDir = (name: string, from: string): string | null => {
  for (let dir = from; dir.startsWith(ROOT); dir = dirname(dir)) {
    const found = join(dir, "node_modules", name);
    if (existsSync(join(found, "package.json"))) return found;
  }
  return null;
};
