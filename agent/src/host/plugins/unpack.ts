import { execFile } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { canonicalJson, PluginManifest } from "@homeostat/schemas";
import { z } from "zod";
import { CLEAN_PATH } from "../executor/process-group.ts";

/** In the artefact's root: the manifest. */
export const MANIFEST_FILE = "plugin.json";
export const UNPACKED_FILES_MAX = 4_000;
export const UNPACKED_BYTES_MAX = 256 * 1_048_576;
/** A manifest travels in every wish and to every host that is to have it. */
export const MANIFEST_BYTES_MAX = 8_192;
const ANY_EXECUTE = 0o111;

const Answer = z.union([z.strictObject({ files: z.int(), bytes: z.int() }), z.strictObject({ refused: z.string() })]);

/** Unpacks into a directory that is there and empty. Rejects when the child could not do its work; why it is refused is a value. */
export const unpack = async (
  artefact: string,
  { into, timeoutMs }: { into: string; timeoutMs: number },
): Promise<{ readonly refused: string } | { readonly files: number; readonly bytes: number }> => {
  const program = fileURLToPath(new URL("./unpack-child.ts", import.meta.url));
  const args = ["--no-warnings", program, artefact, into, String(UNPACKED_FILES_MAX), String(UNPACKED_BYTES_MAX)];
  const stdout = await new Promise<string>((resolve, reject) => {
    const options = {
      timeout: timeoutMs,
      killSignal: "SIGKILL" as const,
      env: { PATH: CLEAN_PATH },
      maxBuffer: 65_536,
    };
    execFile(process.execPath, args, options, (error, out) => {
      if (error === null) resolve(out);
      else if (error.killed) resolve(JSON.stringify({ refused: `not unpacked within ${timeoutMs} ms` }));
      else reject(new Error(`cannot unpack: ${error.message.slice(0, 300)}`, { cause: error }));
    });
  });
  return Answer.parse(JSON.parse(stdout));
};

/** What is wrong with an unpacked artefact, given the manifest that its release tells; null when nothing is. */
export const flawOf = (root: string, manifest: PluginManifest): string | null => {
  try {
    const text = readFileSync(join(root, MANIFEST_FILE), "utf8");
    if (Buffer.byteLength(text) > MANIFEST_BYTES_MAX)
      return `its ${MANIFEST_FILE} has more than ${MANIFEST_BYTES_MAX} bytes`;
    const parsed = PluginManifest.safeParse(JSON.parse(text));
    if (!parsed.success) return `its ${MANIFEST_FILE} is not valid: ${z.prettifyError(parsed.error)}`.slice(0, 500);
    if (canonicalJson(parsed.data) !== canonicalJson(manifest))
      return `its ${MANIFEST_FILE} is not the manifest of the release`;
  } catch (error) {
    return `its ${MANIFEST_FILE} cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (manifest.run === "builtin") return "only what ships with the agent is builtin";
  const { command } = manifest.run;
  if (command.startsWith("/") || command.split("/").includes("..")) return `its command leads out of it: ${command}`;
  const found = statSync(join(root, command), { throwIfNoEntry: false });
  if (found === undefined || !found.isFile()) return `its command ${command} is no file in it`;
  return (found.mode & ANY_EXECUTE) === 0 ? `its command ${command} is not executable` : null;
};
