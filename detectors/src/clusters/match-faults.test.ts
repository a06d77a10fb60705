import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KNOWN_FAULTS } from "./known-faults.ts";
import { knownFaults } from "./match-faults.ts";

const idsOf = (text: string): readonly string[] => knownFaults(text).map(({ id }) => id);

describe("known faults", () => {
  test.each([
    ["order <*> failed: connect ECONNREFUSED <*>", "connection_refused"],
    ["Connection to <*> refused. Check that the hostname and port are correct", "connection_refused"],
    ["ConnectionRefusedError: [Errno <*>] Connection refused", "connection_refused"],
    ["read tcp <*>: read: connection reset by peer", "connection_reset"],
    ["getaddrinfo ENOTFOUND db.internal", "dns_failure"],
    ["java.net.UnknownHostException: db", "dns_failure"],
    ["connect EHOSTUNREACH <*>", "host_unreachable"],
    ["the stock server is unreachable", "host_unreachable"],
    ["dial tcp: lookup db: no such host", "dns_failure"],
    ["java.net.SocketTimeoutException: Read timed out", "timeout"],
    ["context deadline exceeded", "timeout"],
    ["timeout of <*>ms exceeded", "timeout"],
    ["write /data/x: no space left on device", "disk_full"],
    ["ENOSPC: writing failed", "disk_full"],
    ["disk full", "disk_full"],
    ["Disk quota exceeded", "quota_exceeded"],
    ["java.lang.OutOfMemoryError: Java heap space", "out_of_memory"],
    ["java.lang.OutOfMemoryError: GC overhead limit exceeded", "gc_overhead"],
    ["FATAL ERROR: Reached heap limit Allocation failed", "out_of_memory"],
    ["fork: ENOMEM", "out_of_memory"],
    ["Out of memory: Killed process <*> (java)", "kernel_oom_kill"],
    ["container was OOMKilled", "kernel_oom_kill"],
    ["oom-kill:constraint=CONSTRAINT_MEMCG", "kernel_oom_kill"],
    ["accept: too many open files", "too_many_open_files"],
    ["x509: certificate has expired or is not yet valid", "certificate_expired"],
    ["open <path>: permission denied", "permission_denied"],
    ["app[<*>]: segfault at <*> ip <*>", "segmentation_fault"],
    ["mce: [Hardware Error]: CPU <*>: Machine Check", "hardware_error"],
    ["stat <path>: Stale file handle", "nfs_stale_handle"],
    ["ERROR: deadlock detected", "lock_timeout"],
    ["Lock wait timeout exceeded; try restarting transaction", "lock_timeout"],
    ["replication lag of <*> s on replica b", "replication_broken"],
    ["Buffer I/O error on dev sda<*>", "disk_io_error"],
    ["EXT4-fs (sda<*>): Remounting filesystem read-only", "read_only_file_system"],
    ["listen tcp :<*>: bind: address already in use", "address_in_use"],
    ["Failed password for root from <*> port <*> ssh2", "authentication_failed"],
    ["HTTP <*> Too Many Requests", "rate_limited"],
    ["upstream returned 503 for /cart", "upstream_unavailable"],
    ["panic: runtime error: index out of range", "panic"],
    ["java.lang.StackOverflowError", "stack_overflow"],
    ["Missed <*> heartbeats from worker b", "heartbeat_lost"],
    ["CrashLoopBackOff", "crash_loop"],
    ["EMFILE", "too_many_open_files"],
  ])("%s is %s", (text, id) => {
    expect(idsOf(text)[0]).toBe(id);
  });

  test.each([
    "timeout <*>",
    "setting timeout to <dur>",
    "order <*> reserved in <*> ms, status <*>",
    "replication finished, no deadlock found",
    "user alice opened a file",
    "recovered from panic mode off",
    "",
  ])("none is in: %s", (text) => {
    expect(idsOf(text)).toEqual([]);
  });

  test("an exception holds for what it covers only", () => {
    expect(idsOf("operation timed out, timeout <*>")).toEqual(["timeout"]);
  });

  test.each(["OUT OF MEMORY", "out_of_memory", "outOfMemory", "[out-of-memory]", "out of\tmemory", "èout of memory"])(
    "are found however they are written: %s",
    (text) => {
      expect(idsOf(text).includes("out_of_memory")).toBe(!text.startsWith("è"));
    },
  );

  test("have ids, labels, hints and sources of their own, and phrases that find them", () => {
    expect(new Set(KNOWN_FAULTS.map(({ id }) => id)).size).toBe(KNOWN_FAULTS.length);
    for (const { id, label, hint, source, phrases } of KNOWN_FAULTS) {
      expect(id).toMatch(/^[a-z_]+$/);
      expect([label, hint, source].every((text) => text.length > 3)).toBe(true);
      for (const phrase of phrases) {
        expect(phrase).toMatch(/^[a-z0-9]+( (…|[a-z0-9]+))*$/);
        expect(phrase.split("…").length).toBeLessThanOrEqual(2);
        expect([phrase, idsOf(phrase.replace("…", "x y"))]).toEqual([phrase, expect.arrayContaining([id])]);
      }
    }
  });

  test("do not depend on case, nor on what stands around", () => {
    const phrases = KNOWN_FAULTS.flatMap(({ id, phrases }) => phrases.map((phrase) => ({ id, phrase })));
    fc.assert(
      fc.property(
        fc.constantFrom(...phrases),
        fc.constantFrom("; ", " <path> ", "\n", " (): "),
        ({ id, phrase }, mark) => {
          const text = phrase.replace("…", "q");
          expect(idsOf(`qq${mark}${text.toUpperCase()}${mark}zz`)).toContain(id);
        },
      ),
    );
  });

  test("are sought in any text without an error, and only in a long one's beginning", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => idsOf(text).length >= 0));
    const long = "out of ".repeat(2_000_000);
    expect(idsOf(`${long} memory`)).toEqual([]);
    expect(idsOf(`out of memory ${long}`)).toEqual(["out_of_memory"]);
  });
});
