import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

/** Every file of the project that git knows or would add, in order. */
export const projectFiles = (): readonly string[] =>
  [
    ...new Set(
      execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" }).split("\n"),
    ),
  ]
    .filter((path) => path !== "" && existsSync(path))
    .sort();

const VENDORED = "test/fixtures/vendor/";

export interface TextFile {
  readonly path: string;
  readonly text: string;
}

/** The files that people wrote, as text; what came from elsewhere and what is not text is left out. */
export const writtenFiles = (): readonly TextFile[] =>
  projectFiles()
    .filter((path) => !path.startsWith(VENDORED) && path !== "LICENSE")
    .map((path) => ({ path, text: readFileSync(path, "utf8") }))
    .filter(({ text }) => !text.includes("\0"));
