import type { Migration } from "./migration-files.ts";

export interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
}

/** What is still to be applied, in order, or what forbids to go on: a gap, a changed or vanished file, two files of one number. */
export const planMigrations = (
  files: readonly Migration[],
  applied: readonly AppliedMigration[],
): { readonly pending: readonly Migration[] } | { readonly problems: readonly string[] } => {
  const problems = files.flatMap((file, index) =>
    file.version === index + 1
      ? []
      : [`migration ${file.name}: its number should be ${String(index + 1).padStart(4, "0")}`],
  );
  const byVersion = new Map(files.map((file) => [file.version, file]));
  for (const { version, name, checksum } of applied) {
    const file = byVersion.get(version);
    if (file === undefined) problems.push(`migration ${name} is applied, but its file is missing (an older program?)`);
    else if (file.checksum !== checksum) problems.push(`migration ${file.name} was changed after it was applied`);
  }
  const versions = new Set(applied.map(({ version }) => version));
  const last = Math.max(0, ...versions);
  for (const file of files)
    if (file.version < last && !versions.has(file.version))
      problems.push(`migration ${file.name} was never applied, but later ones were`);
  return problems.length > 0 ? { problems } : { pending: files.filter(({ version }) => !versions.has(version)) };
};
