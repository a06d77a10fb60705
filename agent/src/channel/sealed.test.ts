import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Authority, createAuthority } from "../control/identity/authority.ts";
import { acceptHandshake, beginHandshake, type HandshakeControl, SealError, type SealedSession } from "./sealed.ts";
import type { TlsIdentity } from "./tls-identity.ts";

const NOW = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;

let dir: string;
let authority: Authority;
let agent: { host: string; certificatePem: string; privateKey: KeyObject };
const command = generateKeyPairSync("ed25519");
const stranger = generateKeyPairSync("ed25519");

const speaker = (host: string, identity: TlsIdentity) => ({
  host,
  certificatePem: identity.certificatePem,
  privateKey: createPrivateKey(identity.privateKeyPem),
});

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "sealed-"));
  authority = await createAuthority({ dir: join(dir, "ours"), now: () => NOW });
  agent = speaker("web-1", await authority.identityFor({ kind: "agent", site: "eu-1", name: "web-1" }));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const control = (over: Partial<HandshakeControl> = {}): HandshakeControl => ({
  signingKey: command.privateKey,
  authorities: [authority.certificatePem],
  now: NOW,
  mayConnect: () => null,
  ...over,
});

const accepted = (hello: Buffer, over: Partial<HandshakeControl> = {}) => {
  const outcome = acceptHandshake(hello, control(over));
  if ("refused" in outcome) throw new Error(outcome.refused);
  return outcome;
};

/** A session of each side. */
const sessions = (): { readonly atAgent: SealedSession; readonly atControl: SealedSession } => {
  const handshake = beginHandshake(agent, NOW);
  const { welcome, session } = accepted(handshake.hello);
  return { atAgent: handshake.finish(welcome, [command.publicKey]), atControl: session };
};

const flipped = (bytes: Buffer, bit: number): Buffer => {
  const altered = Buffer.from(bytes);
  const at = bit >> 3;
  altered[at] = (altered[at] ?? 0) ^ (1 << (bit & 7));
  return altered;
};

describe("a session", () => {
  test("carries messages of any size both ways, in order", () => {
    const { atAgent, atControl } = sessions();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), fc.boolean(), (bytes, fromAgent) => {
        const [from, to] = fromAgent ? [atAgent, atControl] : [atControl, atAgent];
        expect(to.open(from.seal(bytes))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  test("says whose it is, by which certificate, and what the host's clock said", () => {
    const { host, site, serial, helloUnixMs } = accepted(beginHandshake(agent, 1_000).hello);
    expect({ host, site, helloUnixMs }).toEqual({ host: "web-1", site: "eu-1", helloUnixMs: 1_000 });
    expect(serial).toMatch(/^[0-9a-f]{32}$/);
  });

  test("is confirmed by the first message that opens, not before", () => {
    const { atAgent, atControl } = sessions();
    expect(atControl.confirmed).toBe(false);
    atControl.open(atAgent.seal(Buffer.from("x")));
    expect([atControl.confirmed, atAgent.confirmed]).toEqual([true, false]);
  });

  test("any flipped bit of a sealed message ends it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), (bytes, seed) => {
        const { atAgent, atControl } = sessions();
        const sealed = atAgent.seal(bytes);
        expect(() => atControl.open(flipped(sealed, seed % (sealed.byteLength * 8)))).toThrow(SealError);
        expect(() => atControl.open(sealed)).toThrow(/over/);
      }),
      { numRuns: 40 },
    );
  });

  test("whatever is not the next message does not open: repeated, skipped, swapped, or sent back", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 7 }), (opened, next) => {
        fc.pre(next !== opened);
        const { atAgent, atControl } = sessions();
        const sealed = Array.from({ length: 8 }, (_, index) => atAgent.seal(Buffer.from([index])));
        for (const message of sealed.slice(0, opened)) atControl.open(message);
        expect(() => atControl.open(sealed[next] ?? Buffer.alloc(0))).toThrow(SealError);
      }),
      { numRuns: 40 },
    );
    const { atAgent } = sessions();
    expect(() => atAgent.open(atAgent.seal(Buffer.from("reflected")))).toThrow(SealError);
  });

  test("a message of another session, or one cut short, does not open", () => {
    const [one, other] = [sessions(), sessions()];
    expect(() => one.atControl.open(other.atAgent.seal(Buffer.from("x")))).toThrow(SealError);
    expect(() => other.atControl.open(Buffer.alloc(15))).toThrow(/at least 16 bytes/);
  });

  test("the same text never looks the same twice", () => {
    const { atAgent } = sessions();
    expect(atAgent.seal(Buffer.from("again"))).not.toEqual(atAgent.seal(Buffer.from("again")));
  });
});

describe("a hello is refused", () => {
  const refusal = (hello: Buffer, over: Partial<HandshakeControl> = {}): string => {
    const outcome = acceptHandshake(hello, control(over));
    return "refused" in outcome ? outcome.refused : "accepted";
  };

  test("with any bit of it flipped", () => {
    const { hello } = beginHandshake(agent, NOW);
    fc.assert(
      fc.property(fc.nat(hello.byteLength * 8 - 1), (bit) => {
        const altered = flipped(hello, bit);
        const outcome = acceptHandshake(altered, control());
        // Base64 has a few bits that say nothing: then the keys differ, and nothing opens.
        if ("refused" in outcome) return;
        const handshake = beginHandshake(agent, NOW);
        expect(() => handshake.finish(outcome.welcome, [command.publicKey])).toThrow(SealError);
      }),
      { numRuns: 100 },
    );
  });

  test("when it is garbage of any length", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3_000 }), (bytes) => {
        expect(acceptHandshake(Buffer.from(bytes), control())).toHaveProperty("refused");
      }),
    );
    expect(refusal(Buffer.alloc(20_000))).toMatch(/not 20000/);
  });

  test("from an authority that is not ours, whatever it says", async () => {
    const foreign = await createAuthority({ dir: join(dir, "foreign"), now: () => NOW });
    const identity = await foreign.identityFor({ kind: "agent", site: "eu-1", name: "web-1" });
    expect(refusal(beginHandshake(speaker("web-1", identity), NOW).hello)).toBe(
      "the certificate is not from our authority",
    );
  });

  test("with a certificate that has expired, or is of the future, by control's clock and not the host's", () => {
    const { hello } = beginHandshake(agent, NOW);
    expect(refusal(hello, { now: NOW + 2 * DAY_MS })).toMatch(/has expired at 2026-06-02/);
    expect(refusal(hello, { now: NOW - DAY_MS })).toMatch(/not valid before/);
    expect(refusal(beginHandshake(agent, 0).hello)).toBe("accepted");
  });

  test("with a site server's or control's certificate: a stolen one does not speak as an agent", async () => {
    const site = await authority.identityFor({ kind: "site", site: "eu-1", name: "web-1" });
    expect(refusal(beginHandshake(speaker("web-1", site), NOW).hello)).toMatch(/not an agent's/);
    const plane = await authority.identityFor({ kind: "control", site: "", name: "web-1" });
    expect(refusal(beginHandshake(speaker("web-1", plane), NOW).hello)).toMatch(/not an agent's/);
  });

  test("with the authority's own certificate", () => {
    const own = { ...agent, certificatePem: authority.certificatePem };
    expect(refusal(beginHandshake(own, NOW).hello)).toMatch(/speaks for nobody/);
  });

  test("for another host than the certificate's", () => {
    expect(refusal(beginHandshake({ ...agent, host: "db-1" }, NOW).hello)).toBe(
      'the hello is for "db-1", its certificate for web-1',
    );
  });

  test("when it shows a certificate without having its key", async () => {
    const other = speaker("web-2", await authority.identityFor({ kind: "agent", site: "eu-1", name: "web-2" }));
    const thief = { ...agent, privateKey: other.privateKey };
    expect(refusal(beginHandshake(thief, NOW).hello)).toMatch(/signature does not match/);
  });

  test.each([
    ["of low order: all zeros", Buffer.alloc(32)],
    ["of low order: one", Buffer.concat([Buffer.of(1), Buffer.alloc(31)])],
  ])("with an ephemeral key %s, though it is signed", (_, point) => {
    const { hello } = beginHandshake(agent, NOW);
    const fields = JSON.parse(hello.subarray(2, 2 + hello.readUInt16BE(0)).toString());
    const part = Buffer.from(JSON.stringify({ ...fields, ephemeral: point.toString("base64url") }));
    const length = Buffer.alloc(2);
    length.writeUInt16BE(part.byteLength);
    const signature = sign("sha256", Buffer.concat([Buffer.from("homeostat hello v1\0"), part]), agent.privateKey);
    expect(refusal(Buffer.concat([length, part, signature]))).toMatch(/not a usable X25519 key/);
  });

  test("for whoever may not connect, and the reason is passed on", () => {
    const mayConnect = (host: string, serial: string) => `${host} is revoked (${serial.length})`;
    expect(refusal(beginHandshake(agent, NOW).hello, { mayConnect })).toBe("web-1 is revoked (32)");
  });

  test("an old one that is sent again makes a session that nobody can use", () => {
    const recorded = beginHandshake(agent, NOW);
    const first = accepted(recorded.hello);
    const atAgent = recorded.finish(first.welcome, [command.publicKey]);
    const sealed = atAgent.seal(Buffer.from("a result"));
    const again = accepted(recorded.hello);
    expect(() => again.session.open(sealed)).toThrow(SealError);
    expect(again.session.confirmed).toBe(false);
  });
});

describe("a welcome is refused", () => {
  test("with any bit of it flipped", () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const handshake = beginHandshake(agent, NOW);
        const { welcome } = accepted(handshake.hello);
        const altered = flipped(welcome, seed % (welcome.byteLength * 8));
        expect(() => handshake.finish(altered, [command.publicKey])).toThrow(SealError);
      }),
      { numRuns: 60 },
    );
  });

  test("when it is signed by a key that the agent does not trust, whatever it calls itself", () => {
    const handshake = beginHandshake(agent, NOW);
    const { welcome } = accepted(handshake.hello, { signingKey: stranger.privateKey });
    expect(() => handshake.finish(welcome, [command.publicKey])).toThrow(/unknown key/);
    expect(() => beginHandshake(agent, NOW).finish(welcome, [])).toThrow(/unknown key/);
  });

  test("when it answers another hello, be it of the same agent", () => {
    const { welcome } = accepted(beginHandshake(agent, NOW).hello);
    expect(() => beginHandshake(agent, NOW).finish(welcome, [command.publicKey])).toThrow(/answers another hello/);
  });

  test("when the handshake is finished already", () => {
    const handshake = beginHandshake(agent, NOW);
    const { welcome } = accepted(handshake.hello);
    handshake.finish(welcome, [command.publicKey]);
    expect(() => handshake.finish(welcome, [command.publicKey])).toThrow(/finished already/);
  });

  test("by an agent that trusts several keys only when none of them signed it", () => {
    const handshake = beginHandshake(agent, NOW);
    const { welcome, session } = accepted(handshake.hello, { signingKey: stranger.privateKey });
    const atAgent = handshake.finish(welcome, [command.publicKey, stranger.publicKey]);
    expect(atAgent.open(session.seal(Buffer.from("rotated"))).toString()).toBe("rotated");
  });
});
