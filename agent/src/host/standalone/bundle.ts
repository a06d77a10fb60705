import { basename, dirname, posix } from "node:path";

/** How a module is found: another one of ours by its path, or a package or a module of Node's by its name. */
export type Resolve = (specifier: string, from: string) => { readonly module: string } | { readonly package: string };

const IMPORT = /^import\s*(?:(\{[^}]*\}|\*\s*as\s+\w+|\w+)\s*from\s*)?"([^"]+)";?/gm;
const DYNAMIC = /\bimport\("([^"]+)"\)/g;
const EXPORT_FROM = /^export\s*\{([^}]*)\}\s*from\s*"([^"]+)";?/gm;
const EXPORT_LIST = /^export\s*\{([^}]*)\};?/gm;
const EXPORT_DECLARED = /^export\s+((?:const|let|class|function|async\s+function)\s*\*?\s*)([A-Za-z_$][\w$]*)/gm;
const MODULES_MAX = 300;
/** Modules of Node's that an agent which only watches never needs: loaded with the first call of a function of theirs (0.5 MB together). */
const LOADED_WHEN_CALLED = new Set(["node:child_process", "node:fs/promises", "node:v8"]);

/**
 * One CommonJS script of all that an entry needs. Node loads it without its loader of ES modules, which alone saves 3 MB of resident memory.
 * It knows the few forms of import and export that this house's formatter leaves, and refuses all others; modules run once, when they are
 * first needed, and a cycle among them is refused because it could see what is not there yet.
 */
export const bundle = (entry: string, load: (path: string) => string, resolve: Resolve): string => {
  const modules = new Map<string, string>();
  const add = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) throw new Error(`modules import each other: ${[...trail, path].join(" → ")}`);
    if (modules.has(path)) return;
    if (modules.size >= MODULES_MAX) throw new Error(`a bundle of more than ${MODULES_MAX} modules: ${path}`);
    const { text, eager, lazy } = rewrite(path, load(path), resolve, path === entry);
    for (const target of eager) add(target, [...trail, path]);
    modules.set(path, text);
    for (const target of lazy) add(target, []);
  };
  add(entry, []);
  const up = dirname(entry)
    .split("/")
    .map(() => "..")
    .join("/");
  return [
    '"use strict";',
    // When it is asked for: to read URLs takes 0.2 MB of Node's code.
    `const $url = (path) => new URL(path, require("node:url").pathToFileURL(require("node:path").join(__dirname, ${JSON.stringify(up)}) + "/")).href;`,
    "const $done = new Map();",
    "const $need = (path) => { let found = $done.get(path); if (found === undefined) { found = {}; $done.set(path, found); $modules[path](found); } return found; };",
    LATER,
    "const $modules = {",
    ...[...modules].map(
      ([path, text]) => `${JSON.stringify(path)}: ${path === entry ? "async " : ""}($export) => {${text}\n},`,
    ),
    "};",
    `$modules[${JSON.stringify(entry)}]({}).catch((error) => { process.stderr.write(\`${basename(entry)}: \${error?.stack ?? error}\\n\`); process.exit(1); });`,
    "",
  ].join("\n");
};

/** Stands for a function of a module that is not loaded yet; util.promisify asks for the function's own way to be a promise. */
const LATER =
  'const $promisify = Symbol.for("nodejs.util.promisify.custom");\n' +
  "const $later = (from, name) => Object.defineProperty((...args) => require(from)[name](...args), $promisify, { get: () => require(from)[name][$promisify] });";

interface Rewritten {
  readonly text: string;
  readonly eager: readonly string[];
  readonly lazy: readonly string[];
}

const rewrite = (path: string, source: string, resolve: Resolve, isEntry: boolean): Rewritten => {
  const eager: string[] = [];
  const lazy: string[] = [];
  const exported: string[] = [];
  const need = (specifier: string, into: string[]): string => {
    const found = resolve(specifier, path);
    if ("package" in found) return `require(${JSON.stringify(found.package)})`;
    into.push(found.module);
    return `$need(${JSON.stringify(found.module)})`;
  };
  const text = source
    .replace(IMPORT, (_, names: string | undefined, specifier: string) =>
      names?.startsWith("{") && LOADED_WHEN_CALLED.has(specifier)
        ? importLater(names, specifier)
        : importOf(names, need(specifier, eager)),
    )
    .replace(DYNAMIC, (whole, specifier: string) =>
      "package" in resolve(specifier, path) ? whole : `Promise.resolve().then(() => ${need(specifier, lazy)})`,
    )
    .replace(EXPORT_FROM, (_, names: string, specifier: string) => {
      const from = need(specifier, eager);
      return pairsOf(names)
        .map(([local, name]) => `$export.${name} = ${from}.${local};`)
        .join(" ");
    })
    .replace(EXPORT_LIST, (_, names: string) => {
      for (const [local, name] of pairsOf(names)) exported.push(`$export.${name} = ${local};`);
      return "";
    })
    .replace(EXPORT_DECLARED, (_, keyword: string, name: string) => {
      exported.push(`$export.${name} = ${name};`);
      return `${keyword}${name}`;
    })
    .replaceAll("import.meta.url", `$url(${JSON.stringify(path.replace(/\.ts$/, ".js"))})`);
  const strange = /^(import|export)\b.*/m.exec(text) ?? (isEntry ? null : /^await\b.*/m.exec(text));
  if (strange !== null) throw new Error(`${path}: not a form that can be bundled: ${strange[0].slice(0, 100)}`);
  return { text: slim(`${text}\n${exported.join(" ")}`), eager, lazy };
};

/**
 * V8 keeps a script's text for as long as it runs, and in two bytes a character when one of them is not Latin-1: whole-line comments go, and
 * what is left is ASCII. Lines stay where they are within their module.
 */
const slim = (text: string): string =>
  text
    .replace(/^[ \t]*\/\*\*?(?:[^*]|\*(?!\/))*\*\/[ \t]*$/gm, (comment) => comment.replace(/[^\n]/g, ""))
    .replace(/^[ \t]*\/\/.*$/gm, "")
    .replace(/[ \t]+$/gm, "")
    .replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

const importLater = (names: string, specifier: string): string =>
  pairsOf(names.slice(1, -1))
    .map(([name, local]) => `const ${local} = $later(${JSON.stringify(specifier)}, ${JSON.stringify(name)});`)
    .join(" ");

const importOf = (names: string | undefined, from: string): string => {
  if (names === undefined) return `${from};`;
  if (names.startsWith("*")) return `const ${names.split(/\s+/).at(-1)} = ${from};`;
  if (!names.startsWith("{")) return `const ${names} = ${from}.default ?? ${from};`;
  const inner = pairsOf(names.slice(1, -1)).map(([name, local]) => (name === local ? name : `${name}: ${local}`));
  return `const { ${inner.join(", ")} } = ${from};`;
};

/** Of `a, b as c`: [a, a], [b, c]. */
const pairsOf = (names: string): [string, string][] =>
  names
    .split(",")
    .map((one) => one.trim().split(/\s+as\s+/))
    .filter(([name]) => name !== "")
    .map(([name = "", as]) => [name, as ?? name]);

/** Where an import leads that begins with a dot. */
export const relativeModule = (specifier: string, from: string): string => posix.join(posix.dirname(from), specifier);
