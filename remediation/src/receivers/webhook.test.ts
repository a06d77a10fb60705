import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { WebhookConfig } from "../config.ts";
import { openIncident } from "../incident/incident.ts";
import { START, someFinding } from "../testing/pure-engine.ts";
import { webhook } from "./webhook.ts";

const incident = openIncident("i1", someFinding({ labels: { "service.name": "shop", metric: "m" } }), START);

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

const serve = async (listener: RequestListener): Promise<string> => {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stops.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const send = (url: string, more: object = {}) => {
  const config = WebhookConfig.parse({ name: "ops", kind: "webhook", url, ...more });
  const message = webhook.render(incident, config, { externalUrl: "http://127.0.0.1:7070/" });
  return webhook.send(message, config, { deliveryId: "d1", signal: new AbortController().signal });
};

/** As https://prometheus.io/docs/alerting/latest/configuration/#webhook_config has it. */
const Documented = z.strictObject({
  version: z.literal("4"),
  groupKey: z.string().min(1),
  truncatedAlerts: z.int().min(0),
  status: z.enum(["firing", "resolved"]),
  receiver: z.string(),
  groupLabels: z.record(z.string(), z.string()),
  commonLabels: z.record(z.string(), z.string()),
  commonAnnotations: z.record(z.string(), z.string()),
  externalURL: z.string(),
  alerts: z.array(
    z.strictObject({
      status: z.enum(["firing", "resolved"]),
      labels: z.record(z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/), z.string()),
      annotations: z.record(z.string(), z.string()),
      startsAt: z.iso.datetime(),
      endsAt: z.iso.datetime(),
      generatorURL: z.url(),
      fingerprint: z.string().regex(/^[0-9a-f]{16}$/),
    }),
  ),
});

describe("the webhook receiver", () => {
  it("sends Alertmanager's payload, firing and resolved", () => {
    const config = WebhookConfig.parse({ name: "ops", kind: "webhook", url: "http://example.org" });
    const context = { externalUrl: "http://127.0.0.1:7070" };
    const firing = Documented.parse(webhook.render(incident, config, context));
    expect(firing).toMatchObject({
      status: "firing",
      alerts: [
        { status: "firing", endsAt: "0001-01-01T00:00:00Z", labels: { alertname: "service-down", service: "shop" } },
      ],
    });
    const over = {
      ...incident,
      state: "resolved" as const,
      findings: incident.findings.map((one) => ({ ...one, state: "resolved" as const })),
    };
    const resolved = Documented.parse(webhook.render(over, config, context));
    expect(resolved).toMatchObject({
      status: "resolved",
      groupKey: firing.groupKey,
      alerts: [{ status: "resolved", fingerprint: firing.alerts[0]?.fingerprint }],
    });
  });

  it("says how many alerts it left out", () => {
    const config = WebhookConfig.parse({ name: "ops", kind: "webhook", url: "http://example.org" });
    const many = {
      ...incident,
      findings: Array.from({ length: 30 }, (_, index) => someFinding({ finding_id: `f${index}` })),
    };
    const payload = Documented.parse(webhook.render(many, config, { externalUrl: "http://x" }));
    expect([payload.alerts.length, payload.truncatedAlerts]).toEqual([20, 10]);
  });

  it.for([
    [200, true, false],
    [204, true, false],
    [302, false, true],
    [400, false, true],
    [404, false, true],
    [408, false, false],
    [429, false, false],
    [500, false, false],
    [503, false, false],
  ] as const)("%i: delivered %s, final %s", async ([status, ok, isFinal]) => {
    const url = await serve((_, response) =>
      response.writeHead(status, { location: "http://127.0.0.1:1/elsewhere" }).end(),
    );
    expect(await send(url)).toMatchObject(ok ? { ok } : { ok, isFinal });
  });

  it("never follows a redirect", async () => {
    let followed = false;
    const elsewhere = await serve((_, response) => {
      followed = true;
      response.end();
    });
    const url = await serve((_, response) => response.writeHead(307, { location: elsewhere }).end());
    expect(await send(url)).toMatchObject({ ok: false, isFinal: true });
    expect(followed).toBe(false);
  });

  it("reads no more of an endless answer than it needs, and waits for a silent one no longer than it may", async () => {
    const endless = await serve((_, response) => {
      response.writeHead(500);
      const more = () => response.write("x".repeat(65_536), (error) => (error ? undefined : more()));
      more();
    });
    expect(await send(endless)).toMatchObject({ ok: false, isFinal: false });
    const silent = await serve(() => undefined);
    expect(await send(silent, { timeout_ms: 100 })).toMatchObject({ ok: false, isFinal: false });
  });

  it("tells no secret in an error, even when the other side says it back", async () => {
    const url = await serve((request, response) =>
      response.writeHead(500).end(`no: ${request.url} ${request.headers.authorization}`),
    );
    const delivery = await send(`${url}/hooks/T0PS3CRET?key=K3Y12345`, { bearer_token: "b3arer-t0ken" });
    expect(delivery.ok ? "" : delivery.error).toContain("500");
    expect(JSON.stringify(delivery)).not.toMatch(/T0PS3CRET|K3Y12345|b3arer-t0ken/);
    expect(JSON.stringify(await send("http://user:passw0rd@127.0.0.1:1/T0PS3CRET"))).not.toMatch(/passw0rd|T0PS3CRET/);
  });
});
