import { channelKill } from "../test/acceptance/channel-kill.ts";

const COMMANDS = 10_000;
const AGENTS = 200;

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const { kills, commands, states, missing, runTwice, untrue, history } = await channelKill({
    agents: Number(options.agents ?? AGENTS),
    commands: Number(options.commands ?? COMMANDS),
    say: (text) => process.stdout.write(`${text}\n`),
  });
  const wrong = [...missing, ...runTwice, ...untrue];
  for (const line of wrong.slice(0, 20)) process.stdout.write(`wrong: ${line}\n`);
  if (wrong.length > 0) process.stdout.write(`kills: ${history.join(", ")}\n`);
  if (wrong.length > 0) process.exitCode = 1;
  const found = { lost: missing.length, run_twice: runTwice.length, untrue: untrue.length };
  process.stdout.write(`${JSON.stringify({ ...found, commands, states, kills })}\n`);
};
