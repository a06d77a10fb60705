import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { PluginManifest } from "@homeostat/schemas";
import { Header, type HeaderData } from "tar";
import { describe, expect, it } from "vitest";
import { pack, shellPlugin, temporary } from "./plugin.fixture.ts";
import { flawOf, MANIFEST_FILE, UNPACKED_BYTES_MAX, unpack } from "./unpack.ts";

type Entry = HeaderData & { readonly path: string; readonly content?: string };

const blocksOf = ({ content = "", ...data }: Entry): Buffer => {
  const header = new Header({
    type: "File",
    mode: 0o644,
    size: Buffer.byteLength(content),
    mtime: new Date(0),
    ...data,
  });
  header.encode();
  const body = Buffer.from(content);
  return Buffer.concat([header.block ?? Buffer.alloc(512), body, Buffer.alloc(-body.length & 511)]);
};

const archive = (...entries: Entry[]): Buffer =>
  gzipSync(Buffer.concat([...entries.map(blocksOf), Buffer.alloc(1024)]));

const unpacked = async (bytes: Uint8Array) => {
  const dir = temporary();
  writeFileSync(join(dir, "artefact"), bytes);
  const root = join(dir, "in/the/deep/root");
  mkdirSync(root, { recursive: true });
  const outcome = await unpack(join(dir, "artefact"), { into: root, timeoutMs: 20_000 });
  // Whatever it held, nothing was written outside of the root.
  expect(readdirSync(dir).sort()).toEqual(["artefact", "in"]);
  expect(readdirSync(join(dir, "in/the/deep"))).toEqual(["root"]);
  return { outcome, root };
};

describe("an artefact", () => {
  it("is unpacked as it was packed: contents, directories, and who may be run", async () => {
    const { artefact } = await pack({ ...shellPlugin(""), files: { "run.sh": "#!/bin/sh\n", "lib/a/b.txt": "deep" } });
    const { outcome, root } = await unpacked(artefact);
    expect(outcome).toMatchObject({ files: 3 });
    expect(readFileSync(join(root, "lib/a/b.txt"), "utf8")).toBe("deep");
    expect(statSync(join(root, "run.sh")).mode & 0o777).toBe(0o755);
    expect(statSync(join(root, "lib/a/b.txt")).mode & 0o777).toBe(0o644);
  });

  it("has the same bytes whenever the same directory is packed", async () => {
    const [one, two] = [await pack(shellPlugin("")), await pack(shellPlugin(""))];
    expect(one.artefact.equals(two.artefact)).toBe(true);
    expect(one.release).toEqual(two.release);
  });

  it.each<[string, RegExp, ...Entry[]]>([
    ["a path upwards", /leads out/, { path: "../evil", content: "x" }],
    ["a path up and down again", /leads out/, { path: "a/../../evil", content: "x" }],
    ["an absolute path", /absolute path/, { path: "/tmp/evil", content: "x" }],
    ["a backslash", /backslashes/, { path: "a\\..\\evil", content: "x" }],
    ["a newline in a path", /control characters/, { path: "a\nb", content: "x" }],
    ["a symbolic link out of it", /SymbolicLink is neither/, { path: "a", type: "SymbolicLink", linkpath: "/etc" }],
    ["a symbolic link inside", /SymbolicLink is neither/, { path: "a", type: "SymbolicLink", linkpath: "b" }],
    ["a hard link", /Link is neither/, { path: "a", type: "Link", linkpath: "/etc/passwd" }],
    ["a device", /CharacterDevice is neither/, { path: "a", type: "CharacterDevice", devmaj: 1, devmin: 3 }],
    ["a pipe", /FIFO is neither/, { path: "a", type: "FIFO" }],
    ["setuid", /setuid/, { path: "a", mode: 0o4755, content: "x" }],
    ["the same path twice", /twice/, { path: "a", content: "x" }, { path: "./a", content: "y" }],
    [
      "a file as a directory",
      /both a file and a directory/,
      { path: "a", content: "x" },
      { path: "a/b", content: "y" },
    ],
    ["directories without end", /deeper than/, { path: `${"d/".repeat(40)}x`, content: "x" }],
    ["a size beyond all bounds", /bytes when unpacked/, { path: "a", size: UNPACKED_BYTES_MAX + 1 }],
  ])("with %s is refused", async (_, why, ...entries) => {
    const { outcome } = await unpacked(archive(...entries));
    expect(outcome).toEqual({ refused: expect.stringMatching(why) });
  });

  it("with more files than anybody needs is refused", async () => {
    const entries = Array.from({ length: 4_001 }, (_, at) => ({ path: `f${at}`, content: "" }));
    const { outcome } = await unpacked(archive(...entries));
    expect(outcome).toEqual({ refused: "more than 4000 files" });
  });

  it("that is a bomb of nothing behind its end is refused", async () => {
    const part = gzipSync(Buffer.alloc(16 * 1_048_576));
    const bomb = Buffer.concat([archive({ path: "a", content: "x" }), ...Array.from({ length: 32 }, () => part)]);
    expect(bomb.length).toBeLessThan(1_048_576);
    const { outcome } = await unpacked(bomb);
    expect(outcome).toEqual({ refused: expect.stringContaining("bytes behind its end") });
  });

  it("whose extended header goes on and on comes to nothing", async () => {
    const header = blocksOf({ path: "h", type: "ExtendedHeader", size: 64 * 1_048_576 });
    const { outcome } = await unpacked(gzipSync(Buffer.concat([header, Buffer.alloc(64 * 1_048_576)])));
    expect(outcome).toEqual({ files: 0, bytes: 0 });
  });

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["noise", Buffer.from("this is no archive at all")],
    ["compressed noise", gzipSync(Buffer.from("this is no archive at all".repeat(100)))],
    ["half an archive", archive({ path: "a", content: "x".repeat(100_000) }).subarray(0, 100)],
  ])("that is %s is refused", async (_, bytes) => {
    const { outcome } = await unpacked(bytes);
    expect(outcome).toEqual({ refused: expect.stringContaining("not a .tar.gz") });
  });

  it("is unpacked no further when the agent has gone", async () => {
    const dir = temporary();
    writeFileSync(join(dir, "artefact"), archive({ path: "zeros", content: "\0".repeat(200 * 1_048_576) }));
    const program = fileURLToPath(new URL("./unpack-child.ts", import.meta.url));
    const limits = ["10", String(UNPACKED_BYTES_MAX)];
    const child = spawn(process.execPath, [program, join(dir, "artefact"), dir, ...limits]);
    child.stdin.destroy();
    expect(await once(child, "exit")).toEqual([1, null]);
    expect(statSync(join(dir, "zeros"), { throwIfNoEntry: false })?.size ?? 0).toBeLessThan(200 * 1_048_576);
  });
});

it("a manifest without a canonical form is a flaw like any other", () => {
  const root = temporary();
  const manifest = PluginManifest.parse({
    name: "x",
    version: "1.2.3",
    kind: "static",
    run: { command: "x", args: ["a"] },
  });
  writeFileSync(join(root, MANIFEST_FILE), JSON.stringify({ ...manifest, run: { command: "x", args: ["\ud800"] } }));
  expect(flawOf(root, manifest)).toContain("cannot be read");
});
