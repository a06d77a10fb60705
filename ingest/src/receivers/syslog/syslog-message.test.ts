import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readSyslog } from "./syslog-message.ts";
import { BsdTime } from "./syslog-time.ts";

const NOW = Date.UTC(2026, 10, 21, 9, 0, 0);
const read = (text: string, { nowUnixMs = NOW, zone = "UTC" } = {}) => {
  const { host, service, record } = readSyslog(text, { nowUnixMs, bsdTime: new BsdTime(zone) });
  const { severityNumber, severityText, body, attributes, timeUnixNano } = record;
  const time = timeUnixNano === 0n ? "" : new Date(Number(timeUnixNano / 1_000_000n)).toISOString();
  return { host, service, severity: `${severityNumber} ${severityText}`, body, attributes, time };
};

describe("RFC 5424", () => {
  it("is read as its example 1 says", () => {
    const text =
      "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8";
    expect(read(text)).toEqual({
      host: "mymachine.example.com",
      service: "su",
      severity: "18 crit",
      body: "'su root' failed for lonvick on /dev/pts/8",
      attributes: { "syslog.version": "1", "syslog.msgid": "ID47", "syslog.facility": "auth" },
      time: "2003-10-11T22:14:15.003Z",
    });
  });

  it("is read as its example 2 says: an offset, a process, no structured data", () => {
    const text = "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.";
    expect(read(text)).toMatchObject({ host: "192.0.2.1", time: "2003-08-24T12:14:15.000Z", severity: "10 notice" });
    expect(read(text).attributes).toEqual({
      "syslog.version": "1",
      "syslog.procid": "8710",
      "syslog.facility": "local4",
    });
    const { record } = readSyslog(text, { nowUnixMs: NOW, bsdTime: new BsdTime("UTC") });
    expect(record.timeUnixNano % 1_000_000n).toBe(3000n);
  });

  it("has its structured data as attributes, unescaped", () => {
    const text = String.raw`<165>1 - - - - - [ex@32473 iut="3" note="a \"b\" \\ \] \n"][prio@32473 class="high"][empty]`;
    expect(read(text)).toMatchObject({ host: "", service: "", body: "", time: "" });
    expect(read(text).attributes).toMatchObject({
      "syslog.ex@32473.iut": "3",
      "syslog.ex@32473.note": String.raw`a "b" \ ] \n`,
      "syslog.prio@32473.class": "high",
    });
  });
});

describe("RFC 3164", () => {
  it.each([
    ["its own example", "<34>Oct 11 22:14:15 mymachine su: 'su root' failed", "mymachine", "su", "'su root' failed"],
    ["a process", "<13>Nov 21 08:59:59 web-1 sshd[4711]: Accepted", "web-1", "sshd", "Accepted"],
    ["no tag", "<13>Nov 21 08:59:59 web-1 hello world", "web-1", "", "hello world"],
    ["no host", "<13>Nov  1 08:59:59 sshd[4711]: Accepted", "", "sshd", "Accepted"],
    ["an IPv6 address", "<13>Nov 21 08:59:59 fd00::1 app: hello", "fd00::1", "app", "hello"],
    ["a time of RFC 3339", "<13>2026-11-21T09:59:59.5+01:00 web-1 app: hello", "web-1", "app", "hello"],
  ])("is read with %s", (_name, text, host, service, body) => {
    expect(read(text)).toMatchObject({ host, service, body });
    expect(read(text).attributes["syslog.unparsed"]).toBeUndefined();
  });

  it("has the year that is nearest: a message of New Year's Eve comes in January", () => {
    const nowUnixMs = Date.UTC(2027, 0, 1, 0, 0, 5);
    expect(read("<13>Dec 31 23:59:59 h a: x", { nowUnixMs }).time).toBe("2026-12-31T23:59:59.000Z");
    expect(read("<13>Jan  1 00:00:01 h a: x", { nowUnixMs: Date.UTC(2026, 11, 31, 23, 59) }).time).toBe(
      "2027-01-01T00:00:01.000Z",
    );
    expect(read("<13>Feb 29 00:00:00 h a: x", { nowUnixMs: Date.UTC(2028, 1, 29) }).time).toMatch(/^2028-02-29/);
  });

  it("has the configured time zone, in summer and in winter", () => {
    const zone = "Europe/Berlin";
    expect(read("<13>Nov 21 10:00:00 h a: x", { zone }).time).toBe("2026-11-21T09:00:00.000Z");
    expect(read("<13>Jul  1 10:00:00 h a: x", { zone }).time).toBe("2026-07-01T08:00:00.000Z");
  });
});

describe("what is neither", () => {
  it.each([
    "no priority at all",
    "<192>1 2026-11-21T09:00:00Z h a - - - beyond the last facility",
    "<13>1 2026-13-21T09:00:00Z h a - - - a month that is none",
    "<13>1 2026-02-30T09:00:00Z h a - - - a day that is none",
    '<13>1 2026-11-21T09:00:00Z h a - - [broken="x] structured data',
    "<13>Xyz 21 09:00:00 h a: a month that is none",
    "<13>Nov 31 09:00:00 h a: a day that is none",
    "<>Nov 21 09:00:00 h a: no number",
  ])("is kept whole: %s", (text) => {
    expect(read(text)).toMatchObject({ body: text, time: "", attributes: { "syslog.unparsed": "true" } });
  });

  it("loses nothing and takes no time, whatever it is", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary", maxLength: 300 }),
        fc.constantFrom("", "<13>", "<13>1 - - - - - [a"),
        (tail, head) => {
          const text = head + tail;
          const { record } = readSyslog(text, { nowUnixMs: NOW, bsdTime: new BsdTime("UTC") });
          const isWhole = record.body === text || record.attributes["syslog.unparsed"] === undefined;
          expect(isWhole).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
    const long = `<13>1 - - - - - [a ${'b="\\\\" '.repeat(10_000)}`;
    expect(read(long).attributes["syslog.unparsed"]).toBe("true");
  });
});
