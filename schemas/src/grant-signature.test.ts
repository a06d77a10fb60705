import { generateKeyPairSync, sign } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson } from "./canonical-json.ts";
import type { Cancel, Command } from "./command.ts";
import {
  commandsOf,
  dispatchOf,
  type GrantTerms,
  keyId,
  signCancel,
  signGrant,
  verifyCancel,
  verifyCommand,
} from "./grant-signature.ts";

const control = generateKeyPairSync("ed25519");
const stranger = generateKeyPairSync("ed25519");
const HOSTS = ["web-1", "web-2", "web-3", "db-1", "db-2"];
const ARGS = { name: "clean", args: { days: 3 } };

const TERMS: GrantTerms = {
  command_id: "job-1.0",
  job_id: "job-1",
  requested_by: "ann",
  executor: "exec.run",
  risk: "destructive",
  targets: { sites: { "dc-1": { targeted: 5, of: 100 } } },
  approvals: [{ by: "bob", at_unix_ms: 1_800_000_000_000 }],
  issued_at_unix_ms: 1_800_000_000_000,
  not_after_unix_ms: 1_800_000_060_000,
  timeout_ms: 60_000,
  output_bytes_max: 65_536,
  limits: { cpu_percent: 50, memory_bytes: 268_435_456 },
};

const dispatch = dispatchOf(TERMS, { args: ARGS, hosts: HOSTS, privateKey: control.privateKey });
const commandFor = (index: number): Command => commandsOf(dispatch)(index);
const verifyAt = (host: string, value: unknown) => verifyCommand(value, { host, trustedKeys: [control.publicKey] });
/** As it arrives: through JSON. */
const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value));

/** Every leaf of a JSON value, as the way to it. */
const leaves = (value: unknown, path: (string | number)[] = []): (string | number)[][] => {
  if (value === null || typeof value !== "object") return [path];
  return Object.entries(value).flatMap(([key, inner]) =>
    leaves(inner, [...path, Array.isArray(value) ? Number(key) : key]),
  );
};
const replaceAt = (root: unknown, path: readonly (string | number)[], change: (leaf: unknown) => unknown): unknown => {
  const [key, ...rest] = path;
  if (key === undefined) return change(root);
  const inner = (root as Record<string | number, unknown>)[key];
  const replaced = replaceAt(inner, rest, change);
  return Array.isArray(root)
    ? root.map((one, index) => (index === key ? replaced : one))
    : { ...(root as object), [key]: replaced };
};

describe("a granted command", () => {
  test("is verified by each of its hosts with its own proof, and by no other host", () => {
    for (const [index, host] of HOSTS.entries()) {
      const command = copy(commandFor(index));
      expect(verifyAt(host, command)).toMatchObject({ grant: { command_id: "job-1.0" }, args: ARGS, command });
      for (const other of [...HOSTS, "web-9"])
        if (other !== host) expect(verifyAt(other, command)).toHaveProperty("refused");
    }
  });

  test("is the same bytes whenever it is made of the same terms", () => {
    expect(dispatchOf(TERMS, { args: ARGS, hosts: HOSTS, privateKey: control.privateKey })).toEqual(dispatch);
  });

  test("is refused when any of its leaves is another: grant, arguments, proof, host, key or signature", () => {
    const genuine = commandFor(2);
    const paths = leaves(genuine);
    expect(paths.length).toBeGreaterThan(25);
    fc.assert(
      fc.property(
        fc.constantFrom(...paths),
        fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.constantFrom("read_only", "web-1")),
        (path, value) => {
          const changed = copy(replaceAt(genuine, path, () => value));
          fc.pre(canonicalJson(changed) !== canonicalJson(genuine));
          // A count that gives the same way up the tree is still not what was signed.
          expect(verifyAt("web-3", changed)).toHaveProperty("refused");
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("is refused when any byte of what was signed, or of the signature, is another", () => {
    const { grant } = dispatch.signed;
    const bytes = Buffer.from(canonicalJson(grant));
    const signature = Buffer.from(dispatch.signed.signature, "base64");
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ flip;
        let parsed: unknown;
        try {
          parsed = JSON.parse(changed.toString("utf8"));
        } catch {
          // No JSON at all any more: nothing that could be sent.
          return;
        }
        const value = { ...commandFor(0), signed: { ...dispatch.signed, grant: parsed } };
        if (!isDeepStrictEqual(parsed, grant)) expect(verifyAt("web-1", value)).toHaveProperty("refused");
      }),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(fc.nat(signature.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Buffer.from(signature);
        changed[at] = (changed[at] ?? 0) ^ flip;
        const signed = { ...dispatch.signed, signature: changed.toString("base64") };
        expect(verifyAt("web-1", { ...commandFor(0), signed })).toHaveProperty("refused");
      }),
      { numRuns: 300 },
    );
  });

  test("is refused with something more in it, wherever that is put", () => {
    const genuine = commandFor(0);
    for (const extra of [
      { ...genuine, more: 1 },
      { ...genuine, signed: { ...genuine.signed, more: 1 } },
      { ...genuine, signed: { ...genuine.signed, grant: { ...genuine.signed.grant, more: 1 } } },
      { ...genuine, args: { ...genuine.args, more: 1 } },
    ])
      expect(verifyAt("web-1", extra)).toHaveProperty("refused");
  });

  test.each<[string, Command, string]>([
    [
      "by a key that is not trusted",
      commandsOf(dispatchOf(TERMS, { args: ARGS, hosts: HOSTS, privateKey: stranger.privateKey }))(0),
      "unknown key",
    ],
    [
      "by a strange key under the name of a trusted one",
      {
        ...commandFor(0),
        signed: { ...signGrant(dispatch.signed.grant, stranger.privateKey), key_id: keyId(control.publicKey) },
      },
      "signature",
    ],
    ["by nobody", { ...commandFor(0), signed: { ...dispatch.signed, signature: "" } }, "signature"],
    [
      "as a cancellation",
      {
        ...commandFor(0),
        signed: { ...dispatch.signed, signature: signCancel(cancelOf(), control.privateKey).signature },
      },
      "signature",
    ],
    [
      "over other text than its canonical JSON",
      {
        ...commandFor(0),
        signed: {
          ...dispatch.signed,
          signature: sign(null, Buffer.from(JSON.stringify(dispatch.signed.grant)), control.privateKey).toString(
            "base64",
          ),
        },
      },
      "signature",
    ],
    ["with the proof of another host", { ...commandFor(0), proof: commandFor(1).proof }, "not for web-1"],
    ["with no proof", { ...commandFor(0), proof: { index: 0, path: [] } }, "not for web-1"],
    ["with the arguments of another", { ...commandFor(0), args: { name: "wipe" } }, "arguments"],
  ])("is refused when it is signed or proven %s", (_, value, reason) => {
    expect(verifyAt("web-1", value)).toEqual({ refused: expect.stringContaining(reason) });
  });

  test("is refused by an agent that trusts nobody", () => {
    expect(verifyCommand(commandFor(0), { host: "web-1", trustedKeys: [] })).toHaveProperty("refused");
  });

  test("never throws, whatever it is", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...leaves(commandFor(0))), (junk, path) => {
        expect(verifyAt("web-1", junk)).toHaveProperty("refused");
        const broken = replaceAt(commandFor(0), path.slice(0, -1), () => junk);
        expect(() => verifyAt("web-1", broken)).not.toThrow();
      }),
      { numRuns: 500 },
    );
    // A lone surrogate has no canonical form.
    expect(verifyAt("web-1", { ...commandFor(0), args: { name: "\ud800" } })).toHaveProperty("refused");
    const deep = JSON.parse(`${"[".repeat(50_000)}${"]".repeat(50_000)}`);
    expect(verifyAt("web-1", { ...commandFor(0), args: { name: deep } })).toHaveProperty("refused");
  });
});

function cancelOf(changes: Partial<Cancel> = {}): Cancel {
  return {
    command_id: "job-1.0",
    hosts: [],
    cancelled_by: "ann",
    at_unix_ms: 1_800_000_000_000,
    not_after_unix_ms: 1_800_000_060_000,
    ...changes,
  };
}

describe("a cancellation", () => {
  const verifyCancelAt = (host: string, value: unknown) =>
    verifyCancel(value, { host, trustedKeys: [control.publicKey] });

  test("is for all hosts, or for those that it names", () => {
    expect(verifyCancelAt("web-1", signCancel(cancelOf(), control.privateKey))).toHaveProperty("cancel");
    const named = signCancel(cancelOf({ hosts: ["web-2"] }), control.privateKey);
    expect(verifyCancelAt("web-2", named)).toHaveProperty("cancel");
    expect(verifyCancelAt("web-1", named)).toHaveProperty("refused");
  });

  test("is refused when anything in it is another, or somebody else signed it", () => {
    const genuine = signCancel(cancelOf({ hosts: ["web-1"] }), control.privateKey);
    for (const path of leaves(genuine))
      expect(
        verifyCancelAt(
          "web-1",
          replaceAt(genuine, path, (leaf) => `${leaf}x`),
        ),
      ).toHaveProperty("refused");
    expect(verifyCancelAt("web-1", signCancel(cancelOf(), stranger.privateKey))).toHaveProperty("refused");
    expect(verifyCancelAt("web-1", null)).toHaveProperty("refused");
  });
});
