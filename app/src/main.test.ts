import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const BIN = join(import.meta.dirname, "..", "bin", "homeostat.mjs");

it("says that a disk is full, in place of ending well with half of its output", async () => {
  const args = ["-c", 'exec "$0" "$1" help >/dev/full', process.execPath, BIN];
  const ended = await new Promise((resolve) =>
    execFile("/bin/sh", args, (error, _, stderr) => resolve({ code: error?.code, stderr })),
  );
  expect(ended).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^homeostat help: not all of its output could be written: ENOSPC.*\n$/),
  });
});
