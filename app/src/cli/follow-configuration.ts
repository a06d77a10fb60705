import { dirname, resolve } from "node:path";
import type { Options } from "../options.ts";
import type { Platform } from "../platform.ts";
import { watchFolders } from "../watch-files.ts";
import type { VerbInput } from "./verb.ts";

type Answer = Awaited<ReturnType<Platform["reload"]>>;

/** The rules that are others now; empty when there are none. */
const changesText = (answer: Answer): string => {
  if ("problems" in answer) return "";
  const changes = (["added", "changed", "removed"] as const).flatMap((what) =>
    answer[what].length === 0 ? [] : [`${what}: ${answer[what].join(", ")}`],
  );
  return changes.length === 0 ? "" : `rules ${changes.join("; ")}`;
};

/** What is not as the file says, and stays so until somebody does something; empty when all is. */
const standingText = (answer: Answer): string => {
  if ("problems" in answer) return [answer.message, ...answer.problems.map((problem) => `  - ${problem}`)].join("\n");
  const { needs_restart } = answer;
  return needs_restart.length === 0 ? "" : `changed, but only a restart takes it up: ${needs_restart.join(", ")}`;
};

/**
 * What to say of one reading after the other: every change of rules; what stands and is not as it should be once, for any file of the folder
 * may have changed; and when that is over. Who `asked` has an answer each time.
 */
export const createReloadTexts = (): ((answer: Answer, asked: boolean) => string) => {
  let stood = "";
  return (answer, asked) => {
    const [changes, stands] = [changesText(answer), standingText(answer)];
    const isOver = stood !== "" && stands === "";
    const lines = [changes, asked || stands !== stood ? stands : ""].filter((text) => text !== "");
    stood = stands;
    if (lines.length > 0) return lines.join("\n");
    if (isOver) return "the configuration is in order again; the rules are the same";
    return asked ? "the configuration is read again; the rules are the same" : "";
  };
};

/** Where a change may be one of rules. */
export const foldersOf = (source: string, { rules_dir }: Pick<Options, "rules_dir">): readonly string[] => {
  const folder = dirname(resolve(source));
  return rules_dir === undefined ? [folder] : [folder, resolve(folder, rules_dir)];
};

/** Rules are read again when a file changes, and at SIGHUP. `folders` are those of the newest reading. Returns how to stop. */
export const followConfiguration = (
  platform: Pick<Platform, "reload">,
  folders: () => readonly string[],
  { onHangup, err }: Pick<VerbInput, "onHangup" | "err">,
): (() => void) => {
  const textOf = createReloadTexts();
  const reload = async (asked: boolean): Promise<void> => {
    const text = await platform.reload().then(
      (answer) => textOf(answer, asked),
      (error: unknown) => `reload failed: ${String(error)}`,
    );
    if (text !== "") err(text);
    watching.follow(folders());
  };
  const watching = watchFolders({
    onChange: () => void reload(false),
    onError: (error) => err(`changes of the configuration are not seen (SIGHUP reads it): ${String(error)}`),
  });
  watching.follow(folders());
  onHangup(() => void reload(true));
  return watching.close;
};
