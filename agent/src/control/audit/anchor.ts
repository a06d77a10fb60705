import { mkdirSync, readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Head } from "./chain.ts";

const Anchor = z.strictObject({ sequence: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

/**
 * How far the log had come when it was last looked at, outside the bus: a tail that is cut off and a chain that is made anew from its
 * beginning are whole in themselves, and only this tells them apart.
 */
export class AnchorFile {
  readonly #path: string;
  #writing: Promise<void> = Promise.resolve();

  constructor(dir: string) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.#path = join(dir, "audit-anchor.json");
  }

  /** null when there is none yet. @throws Error when it cannot be read: somebody has been at it. */
  read(): Head | null {
    let text: string;
    try {
      text = readFileSync(this.#path, "utf8");
    } catch (thrown) {
      if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return null;
      throw thrown;
    }
    const parsed = Anchor.safeParse(jsonOf(text));
    if (!parsed.success) throw new Error(`${this.#path} is not an anchor of the audit log`);
    return parsed.data;
  }

  /** One after the other: the flush takes as long as the disk likes, and control must not stand still meanwhile. */
  write(head: Head): Promise<void> {
    const written = this.#writing.then(() => this.#write(head));
    this.#writing = written.catch(() => undefined);
    return written;
  }

  async #write({ sequence, sha256 }: Head): Promise<void> {
    const file = await open(`${this.#path}.new`, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify({ sequence, sha256 }));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${this.#path}.new`, this.#path);
  }
}

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};
