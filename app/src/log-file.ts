import { closeSync, fstatSync, openSync, renameSync, writeSync } from "node:fs";
import type { DestinationStream } from "pino";

/** Two files of this size at the most: the current one and the one before it. */
const LOG_FILE_BYTES_MAX = 16 * 1_048_576;

/**
 * Where our own log goes. Synchronous: lines are few, and the last ones before a crash are the ones that matter.
 * On a full disk lines are lost, and the count of them is the first thing written when there is room again.
 */
export const createLogFile = (path: string): DestinationStream & { close(): void } => {
  let fd = openSync(path, "a", 0o600);
  let sizeBytes = fstatSync(fd).size;
  let lostLines = 0;
  const rotate = () => {
    closeSync(fd);
    renameSync(path, `${path}.1`);
    fd = openSync(path, "a", 0o600);
    sizeBytes = 0;
  };
  return {
    write(line) {
      try {
        if (sizeBytes > LOG_FILE_BYTES_MAX) rotate();
        if (lostLines > 0) writeSync(fd, `{"level":40,"msg":"${lostLines} log lines were lost: the disk was full"}\n`);
        lostLines = 0;
        sizeBytes += writeSync(fd, line);
      } catch {
        lostLines += 1;
      }
    },
    close: () => closeSync(fd),
  };
};
