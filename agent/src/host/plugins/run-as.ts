import { chmodSync, existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import type { Confine } from "../executor/child-limits.ts";
import { loginUser } from "../executor/login-user.ts";

/** As whom plugins run, from the operator's own file: nothing that comes through the channel can change it. */
export interface RunAs {
  /** By the plugin's name; `*` is for all others. Names or numbers of users. */
  readonly users: Readonly<Record<string, string>>;
  /** Processes that such a user may have in all. */
  readonly pidsMax: number;
}

/** Of util-linux. Without them nothing is run as somebody else. */
const SETPRIV = "/usr/bin/setpriv";
const PRLIMIT = "/usr/bin/prlimit";
const TRAVERSED = 0o711;
const READ = 0o755;
const OWNER_ONLY = 0o700;

export const userFor = ({ users }: RunAs, plugin: string): string | null =>
  (Object.hasOwn(users, plugin) ? users[plugin] : undefined) ?? users["*"] ?? null;

/**
 * The same limits, put around a program that first becomes this user, without the rights of any group, and may have no more processes than
 * the user is allowed (setrlimit(2), RLIMIT_NPROC: it counts all of a user, so each plugin should have one of its own).
 */
export const confineAs = async (
  nameOrUid: string,
  { confine, pidsMax, uid }: { readonly confine: Confine; readonly pidsMax: number; readonly uid: number },
): Promise<Confine | { readonly refused: string }> => {
  const refused = (why: string) => ({ refused: `it cannot be run as ${nameOrUid}: ${why}` });
  if (uid !== 0) return refused("the agent does not run as root");
  if (!existsSync(SETPRIV) || !existsSync(PRLIMIT)) return refused(`${SETPRIV} and ${PRLIMIT} are not both there`);
  const user = await loginUser(nameOrUid).catch((error: Error) => error);
  if (user instanceof Error) return refused(user.message);
  if (user.uid === 0) return refused("that is root");
  const become = [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", "--no-new-privs", "--inh-caps=-all"];
  const limit = [PRLIMIT, `--nproc=${pidsMax}`, "--"];
  return ({ command, args }, ...limits) =>
    confine({ command: SETPRIV, args: [...become, "--", ...limit, command, ...args] }, ...limits);
};

/**
 * Lets others than the agent pass through to a plugin's files, and read those; what else the agent has in its directory stays its own.
 * `root` lies below `dir`.
 */
export const openWay = (dir: string, root: string): void => {
  const [first = ""] = relative(dir, root).split("/");
  for (const name of readdirSync(dir)) {
    const mode = statSync(join(dir, name)).mode & 0o777;
    if (name !== first && (mode & ~OWNER_ONLY) !== 0) chmodSync(join(dir, name), mode & OWNER_ONLY);
  }
  for (let at = dirname(root); at.startsWith(dir) && basename(at) !== ""; at = dirname(at)) chmodSync(at, TRAVERSED);
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true }))
    if (entry.isDirectory()) chmodSync(join(entry.parentPath, entry.name), READ);
  chmodSync(root, READ);
};
