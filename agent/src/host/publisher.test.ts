import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Link, LinkError } from "./link.ts";
import { Publisher } from "./publisher.ts";
import { quietLog } from "./quiet-log.fixture.ts";
import { Spool } from "./spool/spool.ts";

/** Makes a wait last beyond any test: who gets on has not waited. */
const FOR_EVER = 1_000_000;

let dir: string;
let spool: Spool;
let isAway: boolean;
let attempts: number;
let chance: number;
let publisher: Publisher;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "publisher-"));
  spool = Spool.open({ dir, host: "web-1", bytesMax: 1_000_000, segmentBytes: 2_000, log: quietLog });
  isAway = true;
  attempts = 0;
  chance = FOR_EVER;
  const link: Pick<Link, "publish"> = {
    async publish() {
      attempts += 1;
      if (isAway) throw new LinkError("unreachable", "no server of the site is connected");
    },
  };
  publisher = new Publisher({ spool, link: link as Link, log: quietLog, random: () => chance });
  spool.append({ topic: "telemetry.logs", rows: 1, value: Buffer.from("x"), marks: {} });
  publisher.start();
});
afterEach(async () => {
  await publisher.stop(100);
  spool.close();
  rmSync(dir, { recursive: true, force: true });
});

const failedTimes = (times: number) => expect.poll(() => attempts, { interval: 5 }).toBe(times);

test("does not wait its turn, and has nothing to complain of, once the link is up again", async () => {
  await failedTimes(1);
  expect(publisher.problem).toBe("the platform cannot be reached: no server of the site is connected");
  isAway = false;
  publisher.linkIsUp();
  expect(publisher.problem).toBeNull();
  await expect.poll(() => spool.hasPending, { interval: 5 }).toBe(false);
  expect(spool.ledger()).toMatchObject({ delivered: 1, spooled: 0 });
});

test("says it again when the link was up for a moment only, and waits as after a first failure", async () => {
  chance = 1;
  await failedTimes(3);
  publisher.linkIsUp();
  await failedTimes(4);
  await expect.poll(() => publisher.problem, { interval: 5 }).toContain("no server of the site");
  expect(spool.ledger()).toMatchObject({ delivered: 0, spooled: 1 });
});

test("can be stopped in the middle of a wait", async () => {
  await failedTimes(1);
  await publisher.stop(FOR_EVER);
  expect(spool.hasPending).toBe(true);
});
