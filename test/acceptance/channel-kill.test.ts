import { describe, test } from "vitest";
import { channelKill, expectTrueEnds } from "./channel-kill.ts";

/** Short here; at length: npm run bench -- channel-kill --commands 1000000 */
const AGENTS = 50;
const COMMANDS = 1_000;
const COMMANDS_PER_KILL = 150;

describe("control, site servers and agents that are killed at any moment", () => {
  test(`bring each of ${COMMANDS} commands to an end that is true, and run none twice`, async () => {
    expectTrueEnds(
      await channelKill({
        agents: AGENTS,
        commands: COMMANDS,
        commandsPerKill: COMMANDS_PER_KILL,
        say: () => undefined,
      }),
    );
  }, 300_000);
});
