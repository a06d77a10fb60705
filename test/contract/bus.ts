import { describe } from "vitest";
import { type BusHarness, startBus } from "./bus.fixture.ts";
import { describeCommitting } from "./bus-committing.ts";
import { describeFailing } from "./bus-failing.ts";
import { describePublishing } from "./bus-publishing.ts";
import { describeReading } from "./bus-reading.ts";
import { describeSharing } from "./bus-sharing.ts";

/** Every promise of schemas/src/bus.ts, as tests that each make of the bus passes. */
export const describeBus = (name: string, makeHarness: () => Promise<BusHarness>): void => {
  const start = () => startBus(makeHarness);
  describe(name, () => {
    describePublishing(start);
    describeReading(start);
    describeCommitting(start);
    describeFailing(start);
    describeSharing(start);
  });
};
