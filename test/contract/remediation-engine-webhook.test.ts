import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { finding, openWorld } from "./remediation-engine.fixture.ts";

describe("the webhook", () => {
  it("reaches a receiver that failed at first and a platform that was restarted, with one id for each delivery", async () => {
    const requests: { headers: IncomingHttpHeaders; body: { status: string; alerts: unknown[] } }[] = [];
    let refusals = 2;
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        requests.push({ headers: request.headers, body: JSON.parse(Buffer.concat(chunks).toString()) });
        refusals -= 1;
        response.writeHead(refusals >= 0 ? 503 : 200).end("busy");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const world = await openWorld({
        config: {
          guards: { start_up_grace_ms: 0 },
          receivers: [
            {
              name: "ops",
              kind: "webhook",
              url: `http://127.0.0.1:${port}/hook`,
              bearer_token: "s3cret",
              events: ["opened", "resolved"],
            },
          ],
        },
      });
      const first = await world.leader();
      await world.say("detect.findings", "a", finding());
      await world.until("one failed attempt", () => [...world.outbox.values()].some(({ attempts }) => attempts === 1));
      expect([...world.outbox.values()][0]).toMatchObject({ state: "pending", event: "opened" });
      expect([...world.outbox.values()][0]?.last_error).toMatch(/503/);
      first.life.isDead = true;
      await world.stopEngine(first.engine);
      await world.leader();
      await world.until("both delivered", () => {
        const all = [...world.outbox.values()];
        return all.length === 2 && all.every(({ state }) => state === "delivered");
      });
      const ids = requests.map(({ headers }) => headers["idempotency-key"]);
      expect(ids.slice(0, 3)).toEqual([ids[0], ids[0], ids[0]]);
      expect(new Set(ids).size).toBe(2);
      expect(requests.map(({ body }) => body.status)).toEqual(["firing", "firing", "firing", "resolved"]);
      expect(requests[0]?.headers.authorization).toBe("Bearer s3cret");
      expect(JSON.stringify([...world.outbox.values()])).not.toContain("s3cret");
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
});
