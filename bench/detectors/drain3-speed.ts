import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const VERSION = "0.9.11";
const INSTALL_MS_MAX = 180_000;
const RUN_MS_MAX = 300_000;

/** The masks of the configuration that Drain3's examples come with, its settings else; CPU time of the mining alone. */
const PROGRAM = String.raw`
import sys, time
from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig
A, Z = r"((?<=[^A-Za-z0-9])|^)", r"((?=[^A-Za-z0-9])|$)"
config = TemplateMinerConfig()
config.masking_instructions = [MaskingInstruction(pattern, name) for pattern, name in (
    (A + r"(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))" + Z, "ID"),
    (A + r"(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})" + Z, "IP"),
    (A + r"([0-9a-f]{6,} ?){3,}" + Z, "SEQ"),
    (A + r"([0-9A-F]{4} ?){4,}" + Z, "SEQ"),
    (A + r"(0x[a-f0-9A-F]+)" + Z, "HEX"),
    (A + r"([\-\+]?\d+)" + Z, "NUM"),
    (r"(?<=executed cmd )(\".+?\")", "CMD"),
)]
miner = TemplateMiner(config=config)
with open(sys.argv[1], encoding="utf-8", errors="replace") as file:
    lines = [line.rstrip("\n") for line in file]
start = time.process_time()
for line in lines:
    miner.add_log_message(line)
print(len(lines) / (time.process_time() - start))
`;

/** An environment of its own beside the packages of npm: installed once, from PyPI. */
const python = (): string => {
  const dir = fileURLToPath(new URL(`../../node_modules/.cache/drain3-${VERSION}`, import.meta.url));
  const interpreter = join(dir, "bin", "python");
  const done = join(dir, "installed");
  if (existsSync(done)) return interpreter;
  execFileSync("python3", ["-m", "venv", dir], { stdio: "ignore", timeout: INSTALL_MS_MAX });
  const install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", `drain3==${VERSION}`];
  execFileSync(interpreter, install, { stdio: "ignore", timeout: INSTALL_MS_MAX });
  writeFileSync(done, "");
  return interpreter;
};

/** Lines per CPU-second of Drain3 (IBM, 2020) on these lines. @throws where there is no Python, or no way to install it. */
export const drain3LinesPerCpuSecond = (lines: readonly Buffer[]): number => {
  const interpreter = python();
  const dir = mkdtempSync(join(tmpdir(), "homeostat-lines-"));
  try {
    const file = join(dir, "lines.log");
    writeFileSync(file, Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")])));
    const printed = execFileSync(interpreter, ["-c", PROGRAM, file], { encoding: "utf8", timeout: RUN_MS_MAX });
    return Number(printed.trim().split("\n").at(-1));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};
