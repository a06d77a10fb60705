import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";

export interface Migration {
  readonly version: number;
  /** The file's name. */
  readonly name: string;
  /** As in the file, placeholders and all: the checksum must not depend on the configuration. */
  readonly sql: string;
  readonly checksum: string;
}

export const MIGRATIONS_DIR = new URL("../../migrations/", import.meta.url);

const NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;

export const readMigrations = async (dir: URL): Promise<readonly Migration[]> => {
  const names = (await readdir(dir)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    names.map(async (name) => {
      const version = NAME.exec(name)?.[1];
      if (version === undefined) throw new Error(`migration ${name}: want NNNN_name.sql`);
      const sql = await readFile(new URL(name, dir), "utf8");
      return { version: Number(version), name, sql, checksum: createHash("sha256").update(sql).digest("hex") };
    }),
  );
};
