import { expect, it } from "vitest";
import { compareVersions } from "./version-order.ts";

it("versions stand in the order of Semantic Versioning 2.0.0, 11", () => {
  // The examples of the specification.
  const inOrder = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "2.0.0",
    "2.1.0",
    "2.1.1",
    "10.0.0",
  ];
  for (const [at, version] of inOrder.entries())
    for (const [other, against] of inOrder.entries())
      expect(Math.sign(compareVersions(version, against)), `${version} and ${against}`).toBe(Math.sign(at - other));
});
