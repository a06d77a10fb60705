import { generateKeyPairSync } from "node:crypto";
import { commandsOf, dispatchOf, type GrantTerms, verifyCommand } from "@homeostat/schemas";

const HOSTS = 1_000;
const ROUNDS = 2_000;

/** Microseconds of CPU that an agent takes to verify one command of a job for a thousand hosts: signature, arguments, proof. */
export const verifyMicros = (): number => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const hosts = Array.from({ length: HOSTS }, (_, at) => `virtual-${at}`);
  const terms: GrantTerms = {
    command_id: "job.1",
    job_id: "job",
    requested_by: "bench",
    executor: "simulate.echo",
    risk: "read_only",
    targets: { sites: { bench: { targeted: HOSTS, of: HOSTS } } },
    approvals: [],
    issued_at_unix_ms: 0,
    not_after_unix_ms: 1,
    timeout_ms: 1_000,
    output_bytes_max: 1_000,
    limits: {},
  };
  const commandAt = commandsOf(dispatchOf(terms, { args: { text: "x".repeat(100) }, hosts, privateKey }));
  const verify = (): void => {
    for (let round = 0; round < ROUNDS; round++) {
      const at = round % HOSTS;
      const verified = verifyCommand(commandAt(at), { host: hosts[at] ?? "", trustedKeys: [publicKey] });
      if ("refused" in verified) throw new Error(verified.refused);
    }
  };
  verify();
  const before = process.cpuUsage();
  verify();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / ROUNDS;
};
