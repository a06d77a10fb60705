import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DesiredPlugins, type Log, PluginName, PluginRelease } from "@homeostat/schemas";
import { z } from "zod";

const PLUGINS = "plugins";
/** No plugin's name begins with a dot. What is in the temporary one is of no worth after a restart. */
const TEMPORARY = ".tmp";
const DESIRED_FILE = ".desired.json";
const STATE_FILE = "state.json";
const RELEASE_FILE = "release.json";
/** In it the tree of the artefact. */
const ROOT = "root";
const CURRENT = "current";

/** One version with the configuration that it is run with. */
export const Deployment = z.strictObject({
  /** `<version>-<the first 12 digits of sha256>`: the directory. */
  directory: z.string().max(128),
  version: z.string().max(64),
  config: z.record(z.string(), z.json()),
  /** Names the artefact and the configuration. */
  key: z.string().max(128),
  /** Names the wish that brought it. */
  wish: z.string().max(128),
});
export type Deployment = z.infer<typeof Deployment>;

/** What is to be known of one plugin after a restart. This file decides; the link `current` shows it to people. */
export const PluginState = z.strictObject({
  current: Deployment.nullable(),
  /** Those that have been well, newest first. */
  good: z.array(Deployment).max(2),
  failed: z
    .strictObject({ wish: z.string().max(128), version: z.string().max(64), reason: z.string().max(1_000) })
    .nullable(),
  /** How often `current` was started without having become good. */
  trials: z.int().min(0),
});
export type PluginState = z.infer<typeof PluginState>;

const NEW: PluginState = { current: null, good: [], failed: null, trials: 0 };

const syncDirectory = (path: string): void => {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

const writeDurably = (path: string, text: string, temporary: string): void => {
  const fd = openSync(temporary, "w", 0o600);
  try {
    // All of it, or an error: a disk that is nearly full takes the beginning.
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
};

/** What is installed, on disk. Everything appears by one rename, so that whoever is killed leaves either the old or the new. */
export class PluginStore {
  readonly #dir: string;
  readonly #log: Log;

  constructor(options: { dir: string; log: Log }) {
    this.#dir = join(options.dir, PLUGINS);
    this.#log = options.log;
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    // The unpacking child of an agent that was killed ends with it, but may write a last file while this removes.
    rmSync(join(this.#dir, TEMPORARY), { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    mkdirSync(join(this.#dir, TEMPORARY), { mode: 0o700 });
  }

  get path(): string {
    return this.#dir;
  }

  names(): string[] {
    return readdirSync(this.#dir).filter((name) => PluginName.safeParse(name).success);
  }

  /** An empty directory of its own, under a name that no earlier agent gave; gone after the next start at the latest. */
  makeTemporary(): string {
    return mkdtempSync(join(this.#dir, TEMPORARY, "of-"));
  }

  discard(path: string): void {
    rmSync(path, { recursive: true, force: true });
  }

  directoryOf(release: PluginRelease): string {
    return `${release.manifest.version}-${release.sha256.slice(0, 12)}`;
  }

  rootOf(name: string, directory: string): string {
    return join(this.#dir, name, directory, ROOT);
  }

  has(name: string, directory: string): boolean {
    return existsSync(join(this.#dir, name, directory, RELEASE_FILE));
  }

  /** Puts an unpacked tree in its place, for good. */
  place(release: PluginRelease, root: string, temporary: string): void {
    const { name } = release.manifest;
    const staged = join(temporary, "staged");
    mkdirSync(staged, { mode: 0o755 });
    renameSync(root, join(staged, ROOT));
    writeDurably(join(staged, RELEASE_FILE), JSON.stringify(release), join(temporary, RELEASE_FILE));
    this.#syncTree(staged);
    const home = join(this.#dir, name);
    mkdirSync(home, { recursive: true, mode: 0o700 });
    const target = join(home, this.directoryOf(release));
    // A whole one may be there from before, with the same bytes: no use to keep it.
    rmSync(target, { recursive: true, force: true });
    renameSync(staged, target);
    syncDirectory(home);
    syncDirectory(this.#dir);
  }

  /** The release that was placed there; null when it cannot be read. */
  release(name: string, directory: string): PluginRelease | null {
    return this.#read(join(this.#dir, name, directory, RELEASE_FILE), PluginRelease);
  }

  state(name: string): PluginState {
    return this.#read(join(this.#dir, name, STATE_FILE), PluginState) ?? NEW;
  }

  writeState(name: string, state: PluginState): void {
    const home = join(this.#dir, name);
    mkdirSync(home, { recursive: true, mode: 0o700 });
    writeDurably(join(home, STATE_FILE), JSON.stringify(state), join(this.#dir, TEMPORARY, `${name}.state`));
    this.#link(home, state.current?.directory ?? null);
    syncDirectory(home);
  }

  /** Removes all versions but these. */
  keep(name: string, directories: readonly string[]): void {
    const home = join(this.#dir, name);
    for (const entry of readdirSync(home, { withFileTypes: true })) {
      if (!entry.isDirectory() || directories.includes(entry.name)) continue;
      this.#removeWhole(join(home, entry.name));
    }
  }

  remove(name: string): void {
    const home = join(this.#dir, name);
    if (existsSync(home)) this.#removeWhole(home);
  }

  desired(): DesiredPlugins | null {
    return this.#read(join(this.#dir, DESIRED_FILE), DesiredPlugins);
  }

  writeDesired(desired: DesiredPlugins): void {
    const temporary = join(this.#dir, TEMPORARY, DESIRED_FILE);
    writeDurably(join(this.#dir, DESIRED_FILE), JSON.stringify(desired), temporary);
    syncDirectory(this.#dir);
  }

  /** By a rename first: a tree that is half removed must not look like one that is there. */
  #removeWhole(path: string): void {
    const doomed = this.makeTemporary();
    renameSync(path, join(doomed, "removed"));
    rmSync(doomed, { recursive: true, force: true });
  }

  #link(home: string, directory: string | null): void {
    const link = join(home, CURRENT);
    if (directory === null) {
      rmSync(link, { force: true });
      return;
    }
    const temporary = this.makeTemporary();
    const made = join(temporary, CURRENT);
    symlinkSync(directory, made);
    renameSync(made, link);
    this.discard(temporary);
  }

  #syncTree(path: string): void {
    for (const entry of readdirSync(path, { withFileTypes: true }))
      if (entry.isDirectory()) this.#syncTree(join(path, entry.name));
    syncDirectory(path);
  }

  #read<T>(path: string, schema: z.ZodType<T>): T | null {
    try {
      return schema.parse(JSON.parse(readFileSync(path, "utf8")));
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isMissing) this.#log.error({ path, error: String(error).slice(0, 500) }, "cannot read what is installed");
      return null;
    }
  }
}
