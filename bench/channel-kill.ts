import { channelKill } from "../test/acceptance/channel-kill.ts";

const COMMANDS = 20_000;
const AGENTS = 400;
/** At length a kill for each so many; a short run has a few dozen all the same. */
const COMMANDS_PER_KILL = 2_500;
const KILLS_MIN = 25;

export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const wanted = Number(options.commands ?? COMMANDS);
  const perKill = Math.min(COMMANDS_PER_KILL, wanted / KILLS_MIN);
  const killed = await channelKill({
    agents: Number(options.agents ?? AGENTS),
    commands: wanted,
    commandsPerKill: Number(options["per-kill"] ?? perKill),
    say: (text) => process.stdout.write(`${text}\n`),
  });
  const { missing, twice, untrue, history, tookS, ...rest } = killed;
  const wrong = missing.count + twice.count + untrue.count;
  const named = [...missing.named, ...twice.named, ...untrue.named];
  for (const line of named.slice(0, 20)) process.stdout.write(`wrong: ${line}\n`);
  if (wrong > 0) process.stdout.write(`kills: ${history.join(", ")}\n`);
  const found = { lost: missing.count, run_twice: twice.count, untrue: untrue.count };
  process.stdout.write(`${JSON.stringify({ ...found, took_s: Math.round(tookS), ...rest })}\n`);
  if (wrong > 0) throw new Error(`${wrong} commands went wrong`);
};
