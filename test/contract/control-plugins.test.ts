import { generateKeyPairSync } from "node:crypto";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packPlugin } from "@homeostat/agent/control";
import { expect, test } from "vitest";
import { until } from "../../agent/src/control/control-fleet.fixture.ts";
import { openWorld, undo } from "./control-world.ts";

test("a control plane that begins tells the agent beside it of no fewer plugins than are wished, though it hears of it first", async () => {
  const world = await openWorld();
  const publisher = generateKeyPairSync("ed25519");
  const folder = join(world.dir, "demo");
  mkdirSync(folder);
  const manifest = { name: "demo", version: "1.0.0", kind: "static", run: { command: "run.sh" } };
  writeFileSync(join(folder, "plugin.json"), JSON.stringify(manifest));
  writeFileSync(join(folder, "run.sh"), "#!/bin/sh\n");
  chmodSync(join(folder, "run.sh"), 0o755);
  const { artefact, release } = await packPlugin(folder, publisher.privateKey);
  const beat = { ...world.fleet.beatOf("vm"), at_unix_ms: world.fleet.time.now(), labels: { role: "hub" } };
  await world.bus.publish([{ topic: "agent.heartbeats", key: "vm", value: Buffer.from(JSON.stringify(beat)) }]);
  const reign = async () => {
    const told: string[][] = [];
    const member = await world.fleet.member({
      pluginKeys: [publisher.publicKey],
      beside: {
        host: "vm",
        desired: ({ plugins }) => void told.push(plugins.map(({ release: { manifest: of } }) => of.name)),
      },
    });
    undo.push(async () => member.control.stop());
    await world.fleet.lead(member);
    return { told, member };
  };
  const first = await reign();
  await first.member.control.plugins?.publish(artefact, release);
  const wish = { name: "demo", version: "1.0.0", targets: { labels: "*" }, atOnce: true, by: "ann" };
  await first.member.control.plugins?.wish(wish);
  await until(() => first.told.at(-1)?.includes("demo") === true);
  await world.fleet.kill(first.member);
  const second = await reign();
  await until(() => second.told.length > 0);
  expect(second.told.filter((names) => !names.includes("demo"))).toEqual([]);
});
