import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { confineBy } from "../executor/child-limits.ts";
import { openHost, pack, runExecutor, shellPlugin, statusOf, wish } from "./plugin.fixture.ts";
import { confineAs, openWay, type RunAs, userFor } from "./run-as.ts";

const confine = confineBy({ cgroups: null, pidsMax: 64 });
const isRoot = process.getuid?.() === 0;
/** A user whom the system's own database knows, and who owns nothing here. */
const NOBODY = "nobody";

const TELL = `
who=$(id -u):$(id -G | tr ' ' ,)
secret=$(cat "$(dirname "$0")/../../../../identity/key" 2>/dev/null || printf none)
printf '{"output":"%s %s"}\\n' "$who" "$secret"
printf '%s\\n' '{"result":{"state":"succeeded","exit_code":0}}'
`;
/** As many children as it gets. */
const BOMB = `
count=0
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  (sleep 5 >/dev/null 2>&1 </dev/null &) 2>/dev/null && count=$((count + 1))
done
printf '{"output":"%s"}\\n' "$count"
printf '%s\\n' '{"result":{"state":"succeeded","exit_code":0}}'
`;

describe("a plugin that the operator has run as another user", () => {
  it("is the one that is named for it, otherwise the one for all others, otherwise the agent's own", () => {
    const runAs = { users: { disk: "disk-plugin", "*": "plugins" }, pidsMax: 64 };
    expect(userFor(runAs, "disk")).toBe("disk-plugin");
    expect(userFor(runAs, "other")).toBe("plugins");
    expect(userFor(runAs, "constructor")).toBe("plugins");
    expect(userFor({ ...runAs, users: {} }, "disk")).toBeNull();
  });

  it.each([
    { name: "an agent that is not root", user: NOBODY, uid: 1_000, why: "the agent does not run as root" },
    { name: "a user that there is not", user: "nobody-of-this-name", uid: 0, why: "no user nobody-of-this-name" },
    { name: "root", user: "root", uid: 0, why: "that is root" },
  ])("is not run by $name", async ({ user, uid, why }) => {
    expect(await confineAs(user, { confine, pidsMax: 64, uid })).toMatchObject({
      refused: expect.stringContaining(why),
    });
  });

  it("can be reached, and nothing else of the agent's", async () => {
    const { dir } = openHost([await pack(shellPlugin(TELL))]);
    const root = join(dir, "plugins", "demo", "1.0.0-x", "root");
    mkdirSync(join(root, "lib"), { recursive: true, mode: 0o700 });
    mkdirSync(join(dir, "spool"), { mode: 0o755 });
    writeFileSync(join(dir, "journal"), "", { mode: 0o644 });
    chmodSync(dir, 0o700);
    openWay(dir, root);
    const modeOf = (path: string) => statSync(path).mode & 0o777;
    expect([dir, join(root, "..", ".."), join(root, "..")].map(modeOf)).toEqual([0o711, 0o711, 0o711]);
    expect([root, join(root, "lib")].map(modeOf)).toEqual([0o755, 0o755]);
    expect([join(dir, "spool"), join(dir, "journal")].map(modeOf)).toEqual([0o700, 0o600]);
  });

  const told = async (script: string, runAs?: RunAs): Promise<string> => {
    const packed = await pack(shellPlugin(script));
    const test = openHost([packed], runAs === undefined ? {} : { runAs });
    mkdirSync(join(test.dir, "identity"), { mode: 0o755 });
    writeFileSync(join(test.dir, "identity", "key"), "secret", { mode: 0o644 });
    await test.host.start();
    await test.bring(wish(packed));
    expect(statusOf(test)).toMatchObject({ state: "idle", last_failed: null });
    const outcome = await runExecutor(test, "demo.say", { word: "x" });
    return "stdout" in outcome ? outcome.stdout : JSON.stringify(outcome);
  };

  it.skipIf(!isRoot)("has that user's rights, of no group beside, and reads nothing of the agent's", async () => {
    const idOf = (flag: string) => spawnSync("id", [flag, NOBODY], { encoding: "utf8" }).stdout.trim();
    expect(await told(TELL)).toMatch(/^0:.* secret$/);
    expect(await told(TELL, { users: { demo: NOBODY }, pidsMax: 64 })).toBe(`${idOf("-u")}:${idOf("-g")} none`);
  });

  it.skipIf(!isRoot)("gets no more processes than its user may have: a fork bomb ends at that", async () => {
    expect(await told(BOMB, { users: { "*": NOBODY }, pidsMax: 1_000 })).toBe("20");
    expect(await told(BOMB, { users: { "*": NOBODY }, pidsMax: 12 })).not.toBe("20");
  });
});
