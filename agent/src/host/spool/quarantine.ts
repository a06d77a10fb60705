import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Log } from "@homeostat/schemas";

const QUARANTINE_FILES_MAX = 16;
const QUARANTINE_FILE_BYTES_MAX = 1_048_576;

/** Keeps what could not be read, for a person to look at; the oldest file gives way, a long one is cut. Never throws: it must not stop the reading. */
export const setAside = (options: { dir: string; name: string; bytes: Uint8Array; log: Log }): void => {
  const { dir, name, bytes, log } = options;
  log.warn({ name, bytes: bytes.length }, "set aside a corrupt part of the spool");
  try {
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, name), bytes.subarray(0, QUARANTINE_FILE_BYTES_MAX));
    const files = readdirSync(dir).sort();
    for (const file of files.slice(0, Math.max(0, files.length - QUARANTINE_FILES_MAX))) rmSync(join(dir, file));
  } catch (error) {
    log.warn({ name, error: String(error) }, "could not keep the corrupt part");
  }
};
