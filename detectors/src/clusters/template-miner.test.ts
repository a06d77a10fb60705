import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { REVIEW_LINES_MIN, templateText } from "./line-template.ts";
import { loadTemplates, saveTemplates } from "./saved-templates.ts";
import { LINE_TEMPLATES_MAX, TemplateMiner } from "./template-miner.ts";

const classify = (miner: TemplateMiner, line: string): number => miner.classify(Buffer.from(line));
const textsOf = (lines: readonly string[]): string[] => {
  const miner = new TemplateMiner();
  const places = lines.map((line) => classify(miner, line));
  return [...new Set(places.map((place) => templateText(miner.at(place))))];
};
const reloaded = (miner: TemplateMiner): TemplateMiner => {
  const { json, forms } = saveTemplates(miner.state);
  return new TemplateMiner(loadTemplates(JSON.parse(JSON.stringify(json)), forms.slice()));
};
/** Words of letters alone: no number makes them variables. */
const wordOf = (number: number): string => {
  const digits = Array.from(number.toString(16), (digit) => String.fromCharCode(103 + Number.parseInt(digit, 16)));
  return `${digits.join("")}q`;
};

describe("template mining", () => {
  test.each([
    [
      "a user's name",
      ["ann", "bob", "eve"].map((user) => `session closed for user ${user}`),
      ["session closed for user <*>"],
    ],
    ["an account among users", ["session closed for ann", "session closed for root"], ["session closed for <*>"]],
    ["the value of a key", ["cache miss key=ab now", "cache miss key=cd now"], ["cache miss key=<*> now"]],
    [
      "a value that may be missing",
      ["login of bob tty= ok then", "login of bob tty=x ok then"],
      ["login of bob tty=<*> ok then"],
    ],
    [
      "values between quotes",
      ['acquire tag="View Lock" now', 'acquire tag="*launch*" now', 'acquire tag="Window" now'],
      ['acquire tag="<*>" now'],
    ],
    [
      "addresses and names of machines",
      ["reply from 10.0.0.1 was late", "reply from db.example.org was late"],
      ["reply from <*> was late"],
    ],
    ["names with numbers", ["link eth0 lost its carrier", "link eth1 lost its carrier"], ["link <*> lost its carrier"]],
    [
      "a word of many values",
      ["apple", "pear", "plum", "fig"].map((word) => `the fruit was ${word} in the end`),
      ["the fruit was <*> in the end"],
    ],
    [
      "lists of any length",
      ["channels are 1, 2 of x", "channels are 7 of x", "channels are 1, 2, 3, 4 of x"],
      ["channels are <*> of x"],
    ],
    [
      "values that are said again between brackets",
      [
        "a close, 9 bytes (0 KB) sent, 7 bytes sent",
        "a close, 1 bytes sent, 9 bytes (1.1 KB) sent",
        "a close, 1 bytes sent, 2 bytes sent",
      ],
      ["a close, <*> bytes sent, <*> bytes sent"],
    ],
    [
      "machines by address and by name, with their ports",
      ["open through proxy 10.0.0.1:80 now", "open through proxy db.example.org:80 now"],
      ["open through proxy <*> now"],
    ],
    ["units of a number", ["free 3 KB of heap", "free 5 MB of heap"], ["free <*> of heap"]],
    ["what dots and dashes bind", ["host a-1-b.x is gone", "host c-2-d.y is gone"], ["host <*> is gone"]],
  ])("finds %s", (_, lines, expected) => {
    expect(textsOf(lines)).toEqual(expected);
  });

  test.each([
    ["[7] VM Started (Event)", "[7] VM Paused (Event)"],
    ["the job has failed again today", "the job has succeeded again today"],
    ["link eth0 is up for good", "link eth0 is down for good"],
    ["onReceive action: a.b.SCREEN_ON", "onReceive action: a.b.SCREEN_OFF"],
    ["instance spawned as it was asked", "instance destroyed as it was asked"],
    ["GET for user bob", "PUT for user bob"],
    ['ts=1 msg="Starting server" port=7', 'ts=1 msg="Listening now" port=7'],
    ['{"msg":"opened","user":"ann"}', '{"msg":"shut","user":"ann"}'],
    ["disk state=green now", "disk state=red now"],
    ["data store interrupt", "data storage interrupt"],
    ["cache miss for key a", "cache miss for a key"],
  ])("does not take %s for %s", (one, other) => {
    expect(textsOf([one, other, one])).toHaveLength(2);
  });

  test("protects a word also from a wildcard that is there", () => {
    const users = ["ann", "bob", "eve"].map((user) => `the user ${user} is here`);
    expect(textsOf([...users, "the user failed is here"])).toEqual(["the user <*> is here", "the user failed is here"]);
  });

  test("takes a protected word for a name where there were many names", () => {
    const users = Array.from({ length: 20 }, (_, at) => `the user ${wordOf(at)} is here`);
    expect(textsOf([...users, "the user failed is here"])).toEqual(["the user <*> is here"]);
  });

  test("leads the place and the id of a merged template to the other's", () => {
    const miner = new TemplateMiner();
    const first = classify(miner, "session of user ann closed");
    const firstId = miner.at(first).id;
    const other = classify(miner, "session of user failed closed");
    const later = ["bob", "eve"].map((user) => classify(miner, `session of user ${user} closed`));
    expect(later.map((place) => miner.current(place))).toEqual([first, first]);
    expect(miner.at(first).id).toBe(firstId);
    expect(miner.current(other)).toBe(other);
    expect(miner.mergedIds.size).toBe(2);
    for (const id of miner.mergedIds.keys()) expect(miner.currentId(id)).toBe(firstId);
    expect(miner.at(first).count).toBe(3);
  });

  test("gives the same ids on another machine that saw the same lines first", () => {
    const lines = ["worker ann of pool a is here", "worker bob of pool a is here"];
    const [one, other] = [new TemplateMiner(), new TemplateMiner()];
    for (const line of lines) classify(one, line);
    for (const line of lines) classify(other, line);
    expect(one.at(0).id).toBe(other.at(0).id);
  });

  test("splits a wildcard that turns out to be a choice of few words, and remembers from what", () => {
    const miner = new TemplateMiner();
    const words = ["green", "yellow", "orange", "red"];
    const places = words.map((word) => classify(miner, `the light was ${word} at dawn`));
    expect(new Set(places.map((place) => miner.current(place))).size).toBe(1);
    const whole = miner.at(places[0] ?? 0).id;
    for (let line = 0; line < REVIEW_LINES_MIN; line++) classify(miner, `the light was ${words[line % 4]} at dawn`);
    const parts = words.map((word) => miner.at(classify(miner, `the light was ${word} at dawn`)));
    expect(parts.map(templateText)).toEqual(words.map((word) => `the light was ${word} at dawn`));
    expect(parts.map(({ splitFrom }) => splitFrom)).toEqual([null, whole, whole, whole]);
    expect(parts[0]?.id).toBe(whole);
    expect(new Set(parts.map(({ id }) => miner.currentId(id))).size).toBe(4);
  });

  test("does not split what names are expected in", () => {
    const miner = new TemplateMiner();
    for (let line = 0; line < REVIEW_LINES_MIN + 2; line++)
      classify(miner, `session of user ${["ann", "bob", "eve"][line % 3]} ended`);
    expect(miner.size).toBe(1);
  });

  test("reads the variables of a line", () => {
    const miner = new TemplateMiner();
    for (const user of ["ann", "eve"]) classify(miner, `user ${user} paid 12 from 10.0.0.1`);
    const line = Buffer.from("user bob paid 7 from 10.0.0.2");
    const place = miner.classify(line);
    expect(miner.variables(place, line)).toEqual([
      { type: "word", text: "bob" },
      { type: "number", text: "7" },
      { type: "ip", text: "10.0.0.2" },
    ]);
    expect(miner.variables(place, Buffer.from("something else"))).toEqual([]);
  });

  test.each([
    ["ERROR disk is bad", true],
    ["Unhandled exception in worker", true],
    ["all is well", false],
    ["terror of errors", false],
  ])("knows whether %s speaks of an error", (line, expected) => {
    const miner = new TemplateMiner();
    expect(miner.at(classify(miner, line)).isError).toBe(expected);
  });
});

describe("bounds of template mining", () => {
  test("a hundred thousand names in one place are one template", () => {
    const miner = new TemplateMiner();
    for (let line = 0; line < 100_000; line++) classify(miner, `user ${wordOf(line)} has gone home`);
    expect(miner.size).toBe(1);
    expect(miner.at(0).count).toBe(100_000);
  });

  test("lines of which each is different are held at the cap, the latest stay", () => {
    const miner = new TemplateMiner();
    const marks = ";:,()[]=";
    const line = (number: number): string =>
      Array.from(number.toString(8), (digit) => `${wordOf(number)} ${marks[Number(digit)]}`).join("");
    for (let number = 0; number < 3 * LINE_TEMPLATES_MAX; number++) classify(miner, line(number));
    expect(miner.size).toBeLessThanOrEqual(LINE_TEMPLATES_MAX);
    const misses = miner.misses;
    classify(miner, line(3 * LINE_TEMPLATES_MAX - 1));
    expect(miner.misses).toBe(misses);
  });

  test("a shape that is full takes new lines into its templates, and stays at its cap", () => {
    const miner = new TemplateMiner();
    const words = ["start", "stop", "up", "down"];
    const line = (number: number): string =>
      Array.from(number.toString(4).padStart(6, "0"), (digit) => words[Number(digit)]).join(" ");
    for (let number = 0; number < 4 ** 6; number++) classify(miner, line(number));
    expect(miner.size).toBe(200);
  });

  test("tells which places became one", () => {
    const miner = new TemplateMiner();
    const places = ["ann", "bob", "eve"].map((user) => classify(miner, `session of user ${user} closed`));
    expect(places).toEqual([0, 1, 0]);
    expect(miner.moved()).toEqual(Int32Array.of(0, 0, 0));
    expect(miner.moved()).toBeNull();
    classify(miner, "session of user dan closed");
    expect(miner.moved()).toBeNull();
  });

  test("tells where each place went when it makes room", () => {
    const miner = new TemplateMiner();
    const line = (number: number): string => `${"a ".repeat(number % 100)}${"; ".repeat(number / 100)}`;
    const [early, kept] = [classify(miner, "early bird"), classify(miner, "seen again and again")];
    const keptId = miner.at(kept).id;
    for (let number = 0; number < LINE_TEMPLATES_MAX - 2; number++) {
      expect(miner.moved()).toBeNull();
      classify(miner, line(number));
    }
    classify(miner, "seen again and again");
    const places = miner.moved();
    expect(places).toHaveLength(LINE_TEMPLATES_MAX);
    expect(places?.[early]).toBe(-1);
    expect(miner.at(places?.[kept] ?? -1).id).toBe(keptId);
    expect(places?.filter((place) => place < 0)).toHaveLength(LINE_TEMPLATES_MAX / 10);
    expect(miner.size).toBe(LINE_TEMPLATES_MAX * 0.9);
    expect(miner.current(classify(miner, "seen again and again"))).toBe(places?.[kept]);
  });

  test.each([
    ["nothing", ""],
    ["blanks", "  \t "],
    ["marks", "=== --- ;;; ((("],
    ["bytes that are no UTF-8", Buffer.from([0xff, 0xfe, 0x80, 32, 0xc3])],
    ["a line of ten megabytes", Buffer.alloc(10_000_000, "abc 123 ")],
  ])("a line of %s has a template", (_, line) => {
    const miner = new TemplateMiner();
    const place = miner.classify(Buffer.from(line));
    expect(miner.classify(Buffer.from(line))).toBe(place);
    expect(miner.at(place).count).toBe(2);
  });
});

describe("saved templates", () => {
  const anyLines = fc.array(
    fc
      .array(
        fc.constantFrom(
          "ann",
          "bob",
          "eve",
          "user",
          "12",
          "failed",
          "ok",
          "k=",
          "10.0.0.1",
          "the",
          ";",
          "7,",
          "(8 KB)",
        ),
        {
          minLength: 1,
          maxLength: 6,
        },
      )
      .map((words) => words.join(" ")),
    { maxLength: 80 },
  );

  test("keep a place that leads to a later one", () => {
    const miner = new TemplateMiner();
    const places = ["sent it all (8 KB)", "sent it all"].map((line) => classify(miner, line));
    expect(places.map((place) => reloaded(miner).current(place))).toEqual([1, 1]);
  });

  test("go on as if nothing had been, with the same ids", () => {
    fc.assert(
      fc.property(anyLines, anyLines, (before, after) => {
        const miner = new TemplateMiner();
        for (const line of before) classify(miner, line);
        const loaded = reloaded(miner);
        const answers = (target: TemplateMiner) =>
          [...before, ...after].map((line) => {
            const place = classify(target, line);
            return [place, target.at(place).id, templateText(target.at(place)), target.at(place).count];
          });
        expect(answers(loaded)).toEqual(answers(miner));
        expect(saveTemplates(loaded.state).json).toEqual(saveTemplates(miner.state).json);
      }),
    );
  });

  test.each([
    ["another form", { templates: [] }],
    ["places that lead in a circle", { templates: [], into: [1, 0], merged_ids: [], lines: 1 }],
    ["places that hold nothing", { templates: [], into: [0], merged_ids: [], lines: 1 }],
  ])("refuse %s", (_, json) => {
    expect(() => loadTemplates(json, new Float64Array())).toThrow();
  });

  test("refuse masked lines of places that are not there", () => {
    expect(() =>
      loadTemplates({ templates: [], into: [], merged_ids: [], lines: 0 }, Float64Array.of(1, 2, 3)),
    ).toThrow(RangeError);
  });
});
