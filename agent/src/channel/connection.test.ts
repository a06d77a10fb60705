import { Duplex, duplexPair } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Connection, type ConnectionOwner, type Frame } from "./connection.ts";
import { FRAME_BYTES_MAX } from "./frame.ts";

class Owner implements ConnectionOwner {
  frameBytesMax = FRAME_BYTES_MAX;
  queueBytesMax = 4 * 1_048_576;
  readonly frames: Frame[] = [];
  readonly closed: string[] = [];
  drains = 0;
  onFrame(type: number, body: Buffer): void {
    this.frames.push({ type, body: Buffer.from(body) });
  }
  onClose(reason: string): void {
    this.closed.push(reason);
  }
  onDrain(): void {
    this.drains += 1;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A peer that never takes what is written to it, until it is let. */
class StuckPeer extends Duplex {
  readonly writes: Buffer[] = [];
  #taken: (() => void)[] = [];
  override _read(): void {
    // Nothing comes from it.
  }
  override _write(chunk: Buffer, _encoding: string, taken: () => void): void {
    this.writes.push(chunk);
    this.#taken.push(taken);
  }
  letGo(): void {
    const taken = this.#taken;
    this.#taken = [];
    for (const each of taken) each();
  }
}

const framed = (type: number, body: Buffer): Buffer => {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(body.length + 1);
  header.writeUInt8(type, 4);
  return Buffer.concat([header, body]);
};

const AnyFrame = fc.record({
  type: fc.nat(255),
  body: fc.uint8Array({ maxLength: 300 }).map((body) => Buffer.from(body)),
});

describe("frames over a stream", () => {
  test("arrive whole and in order, however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(AnyFrame, { maxLength: 12 }), fc.array(fc.integer({ min: 1, max: 97 })), (frames, cuts) => {
        const owner = new Owner();
        const connection = new Connection(new StuckPeer(), owner);
        const bytes = Buffer.concat(frames.map(({ type, body }) => framed(type, body)));
        for (let at = 0, cut = 0; at < bytes.length; cut += 1) {
          const end = at + (cuts[cut % Math.max(1, cuts.length)] ?? bytes.length);
          connection.read(bytes.subarray(at, end));
          at = end;
        }
        expect(owner.frames).toEqual(frames);
        expect(owner.closed).toEqual([]);
      }),
    );
  });

  test("what one end sends is what the other end gets, parts joined", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(AnyFrame, { maxLength: 12 }), fc.nat(300), async (frames, cut) => {
        const [here, there] = duplexPair();
        const owner = new Owner();
        const connection = new Connection(here, new Owner());
        new Connection(there, owner);
        for (const { type, body } of frames) connection.send(type, body.subarray(0, cut), body.subarray(cut));
        while (owner.frames.length < frames.length) await turn();
        expect(owner.frames).toEqual(frames);
      }),
      { numRuns: 30 },
    );
  });

  test("a small frame and a large one of the same turn leave as one write, up to 64 KiB", async () => {
    const peer = new StuckPeer();
    const connection = new Connection(peer, new Owner());
    const bodies = [80, 1_400, 7_000, 40_000, 30_000].map((bytes) => Buffer.alloc(bytes, "x"));
    for (const body of bodies) connection.send(3, body);
    await turn();
    peer.letGo();
    const [first, second] = [bodies.slice(0, 4), bodies.slice(4)].map((some) =>
      Buffer.concat(some.map((body) => framed(3, body))),
    );
    expect(peer.writes).toEqual([first, second]);
  });

  test("what is sent in one turn leaves as one write", async () => {
    const peer = new StuckPeer();
    const connection = new Connection(peer, new Owner());
    for (let index = 0; index < 5; index += 1) connection.send(index, Buffer.from("abc"));
    expect(peer.writes).toEqual([]);
    await turn();
    expect(peer.writes).toEqual([Buffer.concat([0, 1, 2, 3, 4].map((type) => framed(type, Buffer.from("abc"))))]);
  });

  test("a header of a megabyte is refused before a byte of it is kept", () => {
    const owner = new Owner();
    owner.frameBytesMax = 65_536;
    const connection = new Connection(new StuckPeer(), owner);
    const header = Buffer.alloc(5);
    header.writeUInt32BE(1_048_576);
    connection.read(header);
    expect(owner.closed).toEqual(["a frame of 1048576 bytes: want 1 to 65536"]);
    connection.read(Buffer.alloc(1_000));
    expect(owner.frames).toEqual([]);
    expect(owner.closed).toHaveLength(1);
  });

  test.each([0, 0xffff_ffff])("a length of %i is refused", (length) => {
    const owner = new Owner();
    const header = Buffer.alloc(5);
    header.writeUInt32BE(length);
    new Connection(new StuckPeer(), owner).read(header);
    expect(owner.closed).toHaveLength(1);
  });

  test("a frame that is announced and does not come takes the memory of what has come", () => {
    const connection = new Connection(new StuckPeer(), new Owner());
    const byte = Buffer.alloc(1);
    const before = process.memoryUsage().arrayBuffers;
    const header = Buffer.alloc(5);
    header.writeUInt32BE(FRAME_BYTES_MAX);
    connection.read(header);
    for (let index = 0; index < 1_000; index += 1) connection.read(byte);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(65_536);
  });

  test("a frame of more than a megabyte is not sent", () => {
    const connection = new Connection(new StuckPeer(), new Owner());
    expect(() => connection.send(1, Buffer.alloc(FRAME_BYTES_MAX))).toThrow(/want 1 to 1048576/);
  });
});

describe("a peer that does not read", () => {
  test("is waited for, and what waits is told when it has caught up", async () => {
    const peer = new StuckPeer();
    const owner = new Owner();
    const connection = new Connection(peer, owner);
    let sent = 0;
    while (connection.send(1, Buffer.alloc(10_000))) sent += 1;
    expect(sent).toBeGreaterThan(20);
    await turn();
    expect(owner.drains).toBe(0);
    while (connection.queuedBytes > 0) {
      peer.letGo();
      await turn();
    }
    expect(owner.drains).toBe(1);
    expect(owner.closed).toEqual([]);
    expect(connection.send(1, Buffer.alloc(10))).toBe(true);
  });

  test("is closed as a slow consumer at the cap, once, and never holds more than the cap and a frame", () => {
    const owner = new Owner();
    const connection = new Connection(new StuckPeer(), owner);
    let queued = 0;
    for (let index = 0; index < 2_000; index += 1) {
      connection.send(1, Buffer.alloc(10_000));
      if (!connection.isClosed) queued = Math.max(queued, connection.queuedBytes);
    }
    expect(owner.closed).toHaveLength(1);
    expect(owner.closed[0]).toMatch(/^slow consumer: 4\d{6} bytes are unread$/);
    expect(queued).toBeLessThanOrEqual(owner.queueBytesMax);
    expect(connection.stream.destroyed).toBe(true);
  });
});

describe("an end", () => {
  test("of the stream is told once, with its reason", async () => {
    const [here, there] = duplexPair();
    const owner = new Owner();
    new Connection(here, owner);
    there.end();
    while (owner.closed.length === 0) await turn();
    here.destroy();
    await turn();
    expect(owner.closed).toEqual(["the peer closed"]);
  });

  test("says its last words first", async () => {
    const [here, there] = duplexPair();
    const peer = new Owner();
    new Connection(there, peer);
    const owner = new Owner();
    const connection = new Connection(here, owner);
    connection.send(7, Buffer.from("farewell"));
    connection.close("done");
    while (peer.closed.length === 0) await turn();
    expect(peer.frames).toEqual([{ type: 7, body: Buffer.from("farewell") }]);
    expect(owner.closed).toEqual(["done"]);
    expect(connection.send(1)).toBe(false);
  });
});
