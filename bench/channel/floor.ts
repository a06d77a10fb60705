import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { rounded } from "../numbers.ts";
import { makeCertificates } from "./certificates.ts";
import { MESSAGE_BYTES, measureWire } from "./decide.ts";

/*
 * What a command cannot cost less than, however little is done around it: one frame there and one back over mutual TLS between a site
 * server and its agents, sealed and opened once each way, its grant verified once. No tier above, no journal, no bus, no JSON. All of it
 * on this machine, as the rates are.
 */

const ROUNDS = 5_000;
const NONCE_BYTES = 12;
const CIPHER = "aes-256-gcm";

/** Microseconds of CPU of one call, after a first round for the compilers. */
const microsOf = (act: () => void): number => {
  for (let round = 0; round < ROUNDS; round++) act();
  const before = process.cpuUsage();
  for (let round = 0; round < ROUNDS; round++) act();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / ROUNDS;
};

const sealAndOpenMicros = (): number => {
  const key = createSecretKey(randomBytes(32));
  const nonce = Buffer.alloc(NONCE_BYTES);
  const plain = randomBytes(MESSAGE_BYTES);
  return microsOf(() => {
    const cipher = createCipheriv(CIPHER, key, nonce);
    const sealed = cipher.update(plain);
    cipher.final();
    const decipher = createDecipheriv(CIPHER, key, nonce).setAuthTag(cipher.getAuthTag());
    decipher.update(sealed);
    decipher.final();
  });
};

const signatureMicros = (): number => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const grant = randomBytes(MESSAGE_BYTES);
  const signature = sign(null, grant, privateKey);
  return microsOf(() => verify(null, grant, publicKey, signature));
};

export interface Floor {
  readonly floor_us: number;
  readonly floor_unverified_us: number;
  /** Of it at site server and control: the frames there, and a seal and an open. */
  readonly floor_server_us: number;
  /** Commands a second with all cores of this machine at nothing else. */
  readonly floor_commands_per_s: number;
  readonly floor_unverified_commands_per_s: number;
}

export const measureFloor = async (options: { connections: number; seconds: number }): Promise<Floor> => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-floor-"));
  try {
    const { serverMicros, clientMicros } = await measureWire("framed", makeCertificates(dir), { ...options, runs: 1 });
    const sealAndOpen = sealAndOpenMicros();
    const unverified = serverMicros + clientMicros + 2 * sealAndOpen;
    const whole = unverified + signatureMicros();
    const perS = (micros: number): number => Math.round((availableParallelism() * 1e6) / micros);
    return {
      floor_us: rounded(whole),
      floor_unverified_us: rounded(unverified),
      floor_server_us: rounded(serverMicros + sealAndOpen),
      floor_commands_per_s: perS(whole),
      floor_unverified_commands_per_s: perS(unverified),
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};
