import { topics } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { topicConfigs } from "./topic-configs.ts";

describe("topicConfigs", () => {
  it("keeps by age and size what is to be deleted", () => {
    expect(topicConfigs({ kind: "delete", ms: 172_800_000, bytesPerPartition: 536_870_912 })).toMatchObject({
      "cleanup.policy": "delete",
      "retention.ms": "172800000",
      "retention.bytes": "536870912",
      "segment.ms": "21600000",
      "segment.bytes": "67108864",
    });
  });

  it("compacts, and keeps tombstones for a day", () => {
    expect(topicConfigs({ kind: "compact" })).toMatchObject({
      "cleanup.policy": "compact",
      "delete.retention.ms": "86400000",
    });
  });

  it("gives every topic of ours segments small enough for its retention, and no smaller than Kafka takes", () => {
    for (const { retention } of topics()) {
      const configs = topicConfigs(retention);
      expect(Number(configs["segment.bytes"])).toBeGreaterThanOrEqual(1_048_576);
      if (retention.kind === "delete")
        expect(Number(configs["segment.bytes"])).toBeLessThanOrEqual(retention.bytesPerPartition / 4);
    }
  });
});
