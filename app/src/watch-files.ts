import { type FSWatcher, statSync, watch } from "node:fs";

/** Editors and package managers write a file in several steps. */
const SETTLE_MS = 300;
/** In a folder where something is written all the time. */
const WAIT_MS_MAX = 2000;

export interface Watching {
  /** These folders from now on. One that has been replaced by another of its name is taken up again. */
  follow(folders: readonly string[]): void;
  close(): void;
}

interface Watched {
  readonly identity: string;
  readonly watcher: FSWatcher;
}

/** What tells a folder from a later one of its name; null when there is none. An inode's number alone is soon given to the next. */
const identityOf = (folder: string): string | null => {
  const stat = statSync(folder, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? null : `${stat.dev}:${stat.ino}:${stat.birthtimeNs}`;
};

/**
 * Calls `onChange` once things in the followed folders have settled. Folders and not files: editors, and Kubernetes with its links, replace
 * files instead of writing into them. What changed is for the caller to find out.
 */
export const watchFolders = ({
  onChange,
  onError,
}: {
  readonly onChange: () => void;
  readonly onError: (error: unknown) => void;
}): Watching => {
  let settling: NodeJS.Timeout | undefined;
  let latest: NodeJS.Timeout | undefined;
  const watched = new Map<string, Watched>();
  const clear = (): void => {
    clearTimeout(settling);
    clearTimeout(latest);
    latest = undefined;
  };
  const settled = (): void => {
    clear();
    onChange();
  };
  const touched = (): void => {
    clearTimeout(settling);
    settling = setTimeout(settled, SETTLE_MS);
    latest ??= setTimeout(settled, WAIT_MS_MAX);
  };
  const leave = (folder: string): void => {
    watched.get(folder)?.watcher.close();
    watched.delete(folder);
  };
  const open = (folder: string): void => {
    try {
      const identity = identityOf(folder);
      // A folder that is not there has been complained of by who reads it.
      if (identity !== null) watched.set(folder, { identity, watcher: watch(folder, touched).on("error", onError) });
    } catch (error) {
      onError(error);
    }
  };
  return {
    follow: (folders) => {
      for (const [folder, { identity }] of watched)
        if (!folders.includes(folder) || identityOf(folder) !== identity) leave(folder);
      for (const folder of folders) if (!watched.has(folder)) open(folder);
    },
    close: () => {
      clear();
      for (const folder of [...watched.keys()]) leave(folder);
    },
  };
};
