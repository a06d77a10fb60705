import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { residentCommand } from "./resident-command.ts";

/** As the resident script starts: with its flags, and tls. */
const started = (env: Readonly<Record<string, string>>) => {
  const [, ...flags] = residentCommand("main.js").slice(0, -1);
  // Node reads its authorities in a thread of its own, and waits for it before it ends.
  const args = [...flags, "-e", 'require("node:tls"); process.stdout.write("up")'];
  return spawnSync(process.execPath, args, { encoding: "utf8", env: { ...process.env, ...env } });
};

test("the resident process reads no authorities into its memory that have no say in it", () => {
  // Whoever reads them reads these too, and says that they are not there.
  const { stdout, stderr } = started({ NODE_EXTRA_CA_CERTS: "/nonexistent/authorities.pem" });
  expect(stdout).toBe("up");
  expect(stderr).not.toContain("/nonexistent/authorities.pem");
});

test.each([
  { NODE_OPTIONS: "--use-system-ca" },
  { NODE_OPTIONS: "--use-bundled-ca" },
  { NODE_OPTIONS: "--use-openssl-ca" },
  { NODE_USE_SYSTEM_CA: "1" },
])("the resident process starts with %o in its environment", (env) => {
  const { status, stdout, stderr } = started(env);
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "up", stderr: "" });
});
