import { describe, expect, it } from "vitest";
import { aboutPlatform } from "./about.ts";
import { parseOptions } from "./options.ts";

const SITE_ALONE = `
bus: { kind: kafka, brokers: ["kafka:9092"] }
parts: [site]
site: { name: berlin, server: site-1, advertise: ["site-1:9444"], control: ["control:9445"], token: { file: /t } }
`;
const ALL_IN_ONE = `site: { name: berlin, advertise: ["platform:9444"] }`;

const serves = (text: string): string =>
  aboutPlatform(parseOptions(text, "test.yaml"), { host: "h", store: "", receives: [] }).serves;

describe("what a start tells a person", () => {
  it("names the way to enrol only where that can be done", () => {
    expect(serves(SITE_ALONE)).toMatch(/^site berlin at \S+:9444$/);
    expect(serves(ALL_IN_ONE)).toMatch(/^site berlin at \S+:9444: npx homeostat enroll token --site berlin$/);
  });
});
