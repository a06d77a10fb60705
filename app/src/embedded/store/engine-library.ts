import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { EmbeddedStoreError } from "./embedded-store-error.ts";

export interface Machine {
  readonly platform: string;
  readonly arch: string;
  /** null where the C library is another (musl). */
  readonly glibcVersion: string | null;
  /** Flags of the first processor as /proc/cpuinfo lists them; empty when unknown. */
  readonly cpuFlags: ReadonlySet<string>;
}

/** The oldest glibc that the engine's symbols ask for. */
const GLIBC_MIN = [2, 25] as const;
const PACKAGES: Readonly<Record<string, string>> = {
  x64: "@chdb/lib-linux-x64-gnu",
  arm64: "@chdb/lib-linux-arm64-gnu",
};

const glibcVersion = (): string | null => {
  // Without this the report looks up the names of all open sockets (@types/node does not know it yet).
  Object.assign(process.report, { excludeNetwork: true });
  const report: { header?: { glibcVersionRuntime?: string } } = process.report.getReport();
  return report.header?.glibcVersionRuntime ?? null;
};

export const thisMachine = (): Machine => {
  const isLinux = process.platform === "linux";
  const flags = isLinux ? /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] : undefined;
  return {
    platform: process.platform,
    arch: process.arch,
    glibcVersion: isLinux ? glibcVersion() : null,
    cpuFlags: new Set(flags?.trim().split(/\s+/)),
  };
};

const isOldGlibc = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < GLIBC_MIN[0] || (major === GLIBC_MIN[0] && minor < GLIBC_MIN[1]);
};

/** Why the engine cannot run on this machine, or null. Asked before it is loaded: it would end with an illegal instruction. */
export const whyUnsupported = (machine: Machine): string | null => {
  if (machine.platform !== "linux") return `it is built for Linux, this is ${machine.platform}`;
  if (!(machine.arch in PACKAGES)) return `it is built for x64 and arm64, this is ${machine.arch}`;
  if (machine.glibcVersion === null) return "it needs the GNU C library, which this system does not use";
  if (isOldGlibc(machine.glibcVersion)) return `it needs glibc ${GLIBC_MIN.join(".")}, this is ${machine.glibcVersion}`;
  if (machine.arch === "x64" && machine.cpuFlags.size > 0 && !machine.cpuFlags.has("avx2"))
    return "it needs a processor with AVX2, and this one has none";
  return null;
};

/** The path of libchdb.so on this machine; throws `unsupported` where there can be none. */
export const engineLibraryPath = (machine: Machine = thisMachine()): string => {
  const reason = whyUnsupported(machine);
  if (reason !== null) throw new EmbeddedStoreError("unsupported", `the embedded store cannot run here: ${reason}`);
  const name = PACKAGES[machine.arch] ?? "";
  try {
    return path.join(path.dirname(createRequire(import.meta.url).resolve(name)), "libchdb.so");
  } catch (cause) {
    throw new EmbeddedStoreError("unsupported", `the embedded store's package ${name} is not installed`, { cause });
  }
};
