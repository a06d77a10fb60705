import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { ApiError } from "./client.ts";
import { typing } from "./typing.ts";

const Input = z.object({ sequence: z.number(), data: z.base64() });
type Fate = "taken" | "lost before" | "lost after" | "behind";

/** A session behind a network: what a request's fate is, is told beforehand; later ones are taken. */
const session = (fates: readonly Fate[]) => {
  const waiting = [...fates];
  let next = 0;
  let text = "";
  let onText: () => void = () => undefined;
  const broken = () => new ApiError("broken", null);
  const post = async <T>(path: string, body: unknown, shape: z.ZodType<T>): Promise<T> => {
    expect(path).toBe("/api/v1/shell/s-1/input");
    const { sequence, data } = Input.parse(body);
    const fate = waiting.shift() ?? "taken";
    if (fate === "lost before") throw broken();
    if (fate === "behind") throw new ApiError("behind", 409, { refusal: "behind" });
    if (sequence > next) throw new ApiError("too early", 409, { refusal: "too_early" });
    if (sequence === next) {
      text += Buffer.from(data, "base64").toString();
      next += 1;
    }
    onText();
    if (fate === "lost after") throw broken();
    return shape.parse({ next_sequence: next });
  };
  const has = (wanted: string): Promise<void> =>
    new Promise((resolve) => {
      onText = () => {
        if (text.length >= wanted.length) resolve();
      };
      onText();
    });
  return { post, has, text: () => text };
};

describe("keys that are typed", () => {
  it("arrive once and in order, whatever becomes of requests and answers", async () => {
    const fate = fc.constantFrom<Fate>("taken", "lost before", "lost after", "behind");
    const texts = fc.array(fc.stringMatching(/^[a-z]{1,8}$/), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.array(fate, { maxLength: 12 }), texts, async (fates, keys) => {
        const stopping = new AbortController();
        const host = session(fates);
        const typed = typing(host, "s-1", { signal: stopping.signal, retryMs: 0 });
        for (const key of keys) typed.type(Buffer.from(key));
        await Promise.race([host.has(keys.join("")), typed.failed]);
        expect(host.text()).toBe(keys.join(""));
        stopping.abort();
      }),
      { numRuns: 50 },
    );
  });

  it("of a long paste go out in pieces", async () => {
    const host = session([]);
    const typed = typing(host, "s-1", { signal: new AbortController().signal });
    const paste = "x".repeat(100_000);
    typed.type(Buffer.from(paste));
    await host.has(paste);
    expect(host.text()).toBe(paste);
  });

  it("that cannot be delivered any more end the session", async () => {
    const post = () => Promise.reject(new ApiError("no session s-1 is open", 404, { refusal: "not_found" }));
    const typed = typing({ post }, "s-1", { signal: new AbortController().signal });
    typed.type(Buffer.from("x"));
    await expect(typed.failed).rejects.toThrow("no session s-1 is open");
  });
});
