import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Link, LinkError } from "./link.ts";
import { Publisher } from "./publisher.ts";
import { quietLog } from "./quiet-log.fixture.ts";
import { Spool } from "./spool/spool.ts";

/** When chance has it longest. */
const FOURTH_WAIT_MS = 1_600;

let dir: string;
let spool: Spool;
let isAway: boolean;
let attempts: number;
let publisher: Publisher;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "publisher-"));
  spool = Spool.open({ dir, host: "web-1", bytesMax: 1_000_000, segmentBytes: 2_000, log: quietLog });
  isAway = true;
  attempts = 0;
  const link: Pick<Link, "publish"> = {
    async publish() {
      attempts += 1;
      if (isAway) throw new LinkError("unreachable", "no server of the site is connected");
    },
  };
  publisher = new Publisher({ spool, link: link as Link, log: quietLog, random: () => 1 });
  spool.append({ topic: "telemetry.logs", rows: 1, value: Buffer.from("x"), marks: {} });
  publisher.start();
});
afterEach(async () => {
  await publisher.stop(100);
  spool.close();
  rmSync(dir, { recursive: true, force: true });
});

const failedTimes = (times: number) => vi.waitFor(() => expect(attempts).toBe(times), { timeout: 10_000, interval: 5 });

test("does not wait its turn, and has nothing to complain of, once the link is up again", async () => {
  await failedTimes(4);
  expect(publisher.problem).toBe("the platform cannot be reached: no server of the site is connected");
  isAway = false;
  const before = performance.now();
  publisher.linkIsUp();
  expect(publisher.problem).toBeNull();
  await vi.waitFor(() => expect(spool.hasPending).toBe(false), { timeout: 10_000, interval: 5 });
  expect(performance.now() - before).toBeLessThan(FOURTH_WAIT_MS);
  expect(spool.ledger()).toMatchObject({ delivered: 1, spooled: 0 });
});

test("says it again when the link was up for a moment only, and waits as after a first failure", async () => {
  await failedTimes(3);
  publisher.linkIsUp();
  await failedTimes(4);
  await vi.waitFor(() => expect(publisher.problem).toContain("no server of the site"), { interval: 5 });
  expect(spool.ledger()).toMatchObject({ delivered: 0, spooled: 1 });
});

test("can be stopped in the middle of a wait", async () => {
  await failedTimes(4);
  const before = performance.now();
  await publisher.stop(30_000);
  expect(performance.now() - before).toBeLessThan(FOURTH_WAIT_MS);
  expect(spool.hasPending).toBe(true);
});
