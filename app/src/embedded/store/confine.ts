import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { DataType, load } from "ffi-rs";

/*
 * Landlock (https://docs.kernel.org/userspace-api/landlock.html): from here on this thread, and every thread that it starts, reads
 * and writes files only where a rule says. The engine's function `file('/etc/passwd')` asks for no grant in this form of ClickHouse,
 * so it is the kernel that has to refuse.
 */

/** The same numbers on x64 and arm64. */
const LANDLOCK_CREATE_RULESET = 444;
const LANDLOCK_ADD_RULE = 445;
const LANDLOCK_RESTRICT_SELF = 446;
const CREATE_RULESET_VERSION = 1;
const RULE_PATH_BENEATH = 1;
const PR_SET_NO_NEW_PRIVS = 38;

/** Version 2 allows renames between directories, which the engine needs; version 3 knows truncation. */
const VERSION_MIN = 3;

/** Every right of version 3, and those that reading needs. */
const ACCESS_ALL = (1n << 15n) - 1n;
const ACCESS_EXECUTE_AND_DEVICES = (1n << 0n) | (1n << 6n) | (1n << 11n);
const ACCESS_READ = (1n << 2n) | (1n << 3n);
const ACCESS_WRITE_FILE = 1n << 1n;
/** What a rule on a file, not a directory, may speak of: execute, write, read, truncate. */
const ACCESS_FILE = 0b111n | (1n << 14n);

export interface Confinement {
  readonly writable: readonly string[];
  readonly readable: readonly string[];
}

const syscall = (number: number, types: readonly DataType[], values: readonly unknown[]): number =>
  load({
    library: "c",
    funcName: "syscall",
    retType: DataType.I32,
    paramsType: [DataType.BigInt, ...types],
    paramsValue: [BigInt(number), ...values],
  });

const version = (): number =>
  syscall(LANDLOCK_CREATE_RULESET, [DataType.BigInt, DataType.BigInt, DataType.I32], [0n, 0n, CREATE_RULESET_VERSION]);

const addRule = (ruleset: number, path: string, access: bigint): boolean => {
  const place = openSync(path, constants.O_RDONLY);
  const applicable = fstatSync(place).isDirectory() ? access : access & ACCESS_FILE;
  // struct landlock_path_beneath_attr, packed: u64 allowed_access, s32 parent_fd.
  const rule = Buffer.alloc(12);
  rule.writeBigUInt64LE(applicable, 0);
  rule.writeInt32LE(place, 8);
  const types = [DataType.I32, DataType.I32, DataType.U8Array, DataType.I32];
  const answer = syscall(LANDLOCK_ADD_RULE, types, [ruleset, RULE_PATH_BENEATH, rule, 0]);
  closeSync(place);
  return answer === 0;
};

/** False where the kernel cannot do it: the grants of the engine's user are then the only fence. */
export const confine = ({ writable, readable }: Confinement): boolean => {
  if (process.platform !== "linux" || version() < VERSION_MIN) return false;
  // struct landlock_ruleset_attr: u64 handled_access_fs.
  const attributes = Buffer.alloc(8);
  attributes.writeBigUInt64LE(ACCESS_ALL);
  const ruleset = syscall(
    LANDLOCK_CREATE_RULESET,
    [DataType.U8Array, DataType.BigInt, DataType.I32],
    [attributes, 8n, 0],
  );
  if (ruleset < 0) return false;
  const isRuled =
    writable.every((path) => addRule(ruleset, path, ACCESS_ALL & ~ACCESS_EXECUTE_AND_DEVICES)) &&
    readable.every((path) => addRule(ruleset, path, ACCESS_READ)) &&
    addRule(ruleset, "/dev", ACCESS_READ | ACCESS_WRITE_FILE);
  const prctl = (option: number): number =>
    load({
      library: "c",
      funcName: "prctl",
      retType: DataType.I32,
      paramsType: [DataType.I32, DataType.BigInt, DataType.BigInt, DataType.BigInt, DataType.BigInt],
      paramsValue: [option, 1n, 0n, 0n, 0n],
    });
  const isConfined =
    isRuled &&
    prctl(PR_SET_NO_NEW_PRIVS) === 0 &&
    syscall(LANDLOCK_RESTRICT_SELF, [DataType.I32, DataType.I32], [ruleset, 0]) === 0;
  closeSync(ruleset);
  return isConfined;
};
