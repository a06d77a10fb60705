import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** As the system's user database has it. */
export interface LoginUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** All that the user is a member of. */
  readonly groups: readonly number[];
  readonly home: string;
  readonly shell: string;
}

const LOOKUP_MS_MAX = 5_000;

const ask = async (program: string, args: readonly string[]): Promise<string> =>
  (await promisify(execFile)(program, args, { timeout: LOOKUP_MS_MAX })).stdout.trim();

/**
 * By name or number, through the system's own name service, so that users of a directory are found too.
 * @throws Error when there is no such user.
 */
export const loginUser = async (nameOrUid: string): Promise<LoginUser> => {
  try {
    const [name = "", , uid, gid, , home = "/", shell = ""] = (await ask("getent", ["passwd", "--", nameOrUid])).split(
      ":",
    );
    const groups = (await ask("id", ["-G", "--", name])).split(" ").map(Number);
    return { name, uid: Number(uid), gid: Number(gid), groups, home, shell: shell === "" ? "/bin/sh" : shell };
  } catch (cause) {
    throw new Error(`no user ${nameOrUid} on this host`, { cause });
  }
};
