import { type InvocationState, Job, JobRequest, MESSAGE_BYTES_MAX } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isOver, JobRun, rampEnds } from "./job-run.ts";

const NOW = 1_800_000_000_000;

const jobOf = (hosts: number, batch: object = {}): Job => ({
  job_id: "j",
  request: JobRequest.parse({ executor: "exec.run", targets: { labels: "*" }, batch }),
  requested_by: "ann",
  risk: "reversible",
  state: "running",
  hosts: Array.from({ length: hosts }, (_, index) => `h${index}`),
  sites: {},
  approvals: [],
  created_at_unix_ms: NOW,
  not_after_unix_ms: NOW + 600_000,
  ended_at_unix_ms: null,
  counts: {},
  message: "",
});

/** What the bus would hold of one job. */
interface Bus {
  job: Job;
  readonly dispatches: { readonly number: number; readonly hosts: readonly string[] }[];
  readonly results: { readonly number: number; readonly host: string; readonly state: InvocationState }[];
}

/** Does all that is to be done; at most `stepsMax` of it, as if control died then. */
const work = (run: JobRun, bus: Bus, now: number, stepsMax = Number.POSITIVE_INFINITY): void => {
  for (let steps = run.next(now, 0), done = 0; steps.length > 0; steps = run.next(now, 0))
    for (const step of steps) {
      done += 1;
      if (done > stepsMax) return;
      if (step.kind === "write") {
        bus.job = step.job;
        run.written(step.job);
      } else if (step.kind === "dispatch") {
        bus.dispatches.push(step);
        expect(run.dispatched(step.number, step.hosts)).toBe(true);
      } else run.cancelSent(step.number);
    }
};

const replayed = (bus: Bus): JobRun => {
  const run = new JobRun(bus.job);
  for (const { number, hosts } of bus.dispatches) expect(run.dispatched(number, hosts)).toBe(true);
  for (const { number, host, state } of bus.results) run.heard(number, host, state, NOW);
  return run;
};

const ENDS = ["succeeded", "succeeded", "succeeded", "failed", "timed_out", "refused", "lost", "expired"] as const;

const event = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ kind: fc.constant("result" as const), pick: fc.nat(), state: fc.constantFrom(...ENDS) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("repeat" as const), pick: fc.nat(), state: fc.constantFrom(...ENDS) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("death" as const),
      steps: fc.nat(3),
      state: fc.constantFrom(...ENDS),
      pick: fc.nat(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cancel" as const) }) },
);

const openOf = (bus: Bus): { number: number; host: string }[] => {
  const ended = new Set(bus.results.map(({ host }) => host));
  return bus.dispatches.flatMap(({ number, hosts }) =>
    hosts.filter((host) => !ended.has(host)).map((host) => ({ number, host })),
  );
};

describe("a job", () => {
  it("comes to a true end whatever happens in whatever order: no host twice, never too many at once, nothing after it stops", () => {
    fc.assert(
      fc.property(
        fc.record({
          hosts: fc.integer({ min: 1, max: 60 }),
          ramp: fc.boolean(),
          concurrency_max: fc.integer({ min: 1, max: 20 }),
          errors_max: fc.integer({ min: 0, max: 5 }),
        }),
        fc.array(event, { maxLength: 200 }),
        ({ hosts, ...batch }, events) => {
          const bus: Bus = { job: jobOf(hosts, batch), dispatches: [], results: [] };
          let run = replayed(bus);
          work(run, bus, NOW);
          const settle = (pick: number, state: InvocationState): void => {
            const open = openOf(bus);
            const chosen = open[pick % Math.max(1, open.length)];
            if (chosen === undefined) return;
            bus.results.push({ ...chosen, state });
            const foretold = run.endedBy(chosen.number, chosen.host, state, NOW);
            expect(run.heard(chosen.number, chosen.host, state, NOW)).toBe(true);
            const [step] = run.next(NOW, 0);
            const isEnd = step?.kind === "write" && isOver(step.job) && state !== "lost";
            expect(foretold).toEqual(isEnd ? step.job : null);
          };
          for (const happens of [
            ...events,
            ...Array.from({ length: hosts }, () => ({ kind: "result", pick: 0, state: "succeeded" }) as const),
          ]) {
            if (happens.kind === "result") settle(happens.pick, happens.state);
            if (happens.kind === "repeat") {
              const told = bus.results[happens.pick % Math.max(1, bus.results.length)];
              if (told !== undefined && told.state !== "lost")
                expect(run.heard(told.number, told.host, happens.state, NOW)).toBe(false);
            }
            if (happens.kind === "restart") run = replayed(bus);
            if (happens.kind === "death") {
              settle(happens.pick, happens.state);
              work(run, bus, NOW, happens.steps);
              run = replayed(bus);
            }
            if (happens.kind === "cancel" && run.job.state === "running") {
              bus.job = run.cancelledBy("ann", "", NOW);
              run.written(bus.job);
            }
            const sentBefore = run.handed;
            const mayNot = run.job.state !== "running" || run.errors > batch.errors_max;
            work(run, bus, NOW);
            expect(run.open).toBeLessThanOrEqual(batch.concurrency_max);
            if (mayNot) expect(run.handed).toBe(sentBefore);
          }
          const sent = bus.dispatches.flatMap((dispatch) => dispatch.hosts);
          expect(sent).toEqual(bus.job.hosts.slice(0, sent.length));
          expect(isOver(bus.job)).toBe(true);
          const counted = Object.values(bus.job.counts).reduce((sum, count) => sum + (count ?? 0), 0);
          expect(counted).toBe(hosts);
          expect(bus.job.counts.queued ?? 0).toBe(hosts - sent.length);
          if (bus.job.state === "succeeded")
            expect(hosts - (bus.job.counts.succeeded ?? 0)).toBeLessThanOrEqual(batch.errors_max);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("sends nothing more once there are too many errors, at any time", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 60 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 4 }),
        (hosts, ramp, errors_max) => {
          const bus: Bus = { job: jobOf(hosts, { ramp, concurrency_max: 7, errors_max }), dispatches: [], results: [] };
          const run = replayed(bus);
          work(run, bus, NOW);
          while (run.errors <= errors_max && !isOver(run.job)) {
            const [next] = openOf(bus);
            if (next === undefined) throw new Error("nothing is open and nothing is over");
            bus.results.push({ ...next, state: "failed" });
            run.heard(next.number, next.host, "failed", NOW);
            if (run.errors <= errors_max) work(run, bus, NOW);
          }
          const sent = run.handed;
          work(run, bus, NOW);
          expect(run.handed).toBe(sent);
          for (const open of openOf(bus)) run.heard(open.number, open.host, "succeeded", NOW);
          work(run, bus, NOW);
          expect(run.handed).toBe(sent);
          expect(isOver(run.job)).toBe(true);
        },
      ),
    );
  });

  it("ramps 1, 2, 4 up to its width, each wave after the one before, and slides then", () => {
    const bus: Bus = { job: jobOf(40, { concurrency_max: 8 }), dispatches: [], results: [] };
    const run = replayed(bus);
    const sizes: number[] = [];
    for (let waves = 0; waves < 4; waves += 1) {
      work(run, bus, NOW);
      const open = openOf(bus);
      sizes.push(open.length);
      for (const [index, { number, host }] of open.entries()) {
        bus.results.push({ number, host, state: "succeeded" });
        run.heard(number, host, "succeeded", NOW);
        if (index < open.length - 1) expect(run.next(NOW, 0)).toEqual([]);
      }
    }
    expect(sizes).toEqual([1, 2, 4, 8]);
    work(run, bus, NOW);
    expect(run.open).toBe(8);
    const [first] = openOf(bus);
    run.heard(first?.number ?? -1, first?.host ?? "", "succeeded", NOW);
    work(run, bus, NOW);
    expect(run.open).toBe(8);
  });

  it.each([
    { hosts: 1, width: 100, ends: [1] },
    { hosts: 10, width: 100, ends: [1, 3, 7, 10] },
    { hosts: 100, width: 4, ends: [1, 3, 7] },
    { hosts: 100, width: 1, ends: [1] },
    { hosts: 100, width: 6, ends: [1, 3, 7, 13] },
  ])("to $hosts hosts, $width at a time, has waves that end at $ends", ({ hosts, width, ends }) => {
    expect(rampEnds(width, hosts)).toEqual(ends);
  });

  it("puts at most a thousand hosts into a dispatch, and numbers them", () => {
    const run = new JobRun(jobOf(2_500, { ramp: false, concurrency_max: 20_000 }));
    const steps = run.next(NOW, 0);
    expect(steps.map((step) => step.kind === "dispatch" && [step.number, step.hosts.length])).toEqual([
      [0, 1_000],
      [1, 1_000],
      [2, 500],
    ]);
    for (const step of steps) if (step.kind === "dispatch") run.dispatched(step.number, step.hosts);
    expect([0, 999, 1_000, 2_499].map((index) => run.commandIdAt(index))).toEqual(["j.0", "j.0", "j.1", "j.2"]);
  });

  it("does not take a dispatch that is not its next, nor a result under another command's name", () => {
    const run = new JobRun(jobOf(4, { ramp: false, concurrency_max: 2 }));
    expect(run.dispatched(1, ["h0"])).toBe(false);
    expect(run.dispatched(0, ["h1"])).toBe(false);
    expect(run.dispatched(0, ["h0", "h1"])).toBe(true);
    expect(run.dispatched(0, ["h0", "h1"])).toBe(false);
    expect(run.heard(1, "h0", "succeeded", NOW)).toBe(false);
    expect(run.heard(0, "h2", "succeeded", NOW)).toBe(false);
    expect(run.heard(0, "elsewhere", "succeeded", NOW)).toBe(false);
  });

  it("lets what an agent's journal knows take the place of lost, and of nothing else", () => {
    const run = new JobRun(jobOf(2, { ramp: false }));
    run.dispatched(0, ["h0", "h1"]);
    expect(run.heard(0, "h0", "lost", NOW)).toBe(true);
    expect(run.heard(0, "h0", "running", NOW)).toBe(false);
    expect(run.heard(0, "h0", "succeeded", NOW)).toBe(true);
    expect(run.heard(0, "h0", "lost", NOW)).toBe(false);
    expect(run.heard(0, "h1", "failed", NOW)).toBe(true);
    expect(run.heard(0, "h1", "succeeded", NOW)).toBe(false);
    expect(run.counts()).toEqual({ succeeded: 1, failed: 1 });
  });

  it("that is over is heard of under another leader as under the same one: what was lost may come back, nothing else", () => {
    const state = fc.constantFrom(...ENDS);
    fc.assert(
      fc.property(
        fc.array(state, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.record({ at: fc.nat(39), off: fc.constantFrom(0, 0, 0, 1, -1), state }), { maxLength: 60 }),
        (ends, concurrency_max, told) => {
          const bus: Bus = {
            job: jobOf(ends.length, { concurrency_max, errors_max: 20 }),
            dispatches: [],
            results: [],
          };
          const same = new JobRun(bus.job);
          for (work(same, bus, NOW); !isOver(bus.job); work(same, bus, NOW))
            for (let at = 0; at < same.handed; at += 1) {
              const number = Number(same.commandIdAt(at).slice(2));
              same.heard(number, `h${at}`, ends[at] ?? "lost", NOW);
            }
          const before = bus.job.hosts.map((_, at) => same.stateAt(at));
          let other = JobRun.ended(Job.parse(JSON.parse(JSON.stringify(bus.job))));
          expect(other === null).toBe(!before.includes("lost"));
          for (const { at, off, state } of told) {
            if (other === null || at >= same.handed) continue;
            const number = Number(same.commandIdAt(at).slice(2)) + off;
            expect(other.heard(number, `h${at}`, state, NOW)).toBe(same.heard(number, `h${at}`, state, NOW));
            expect(other.amended()).toEqual(same.amended());
            other = JobRun.ended(other.amended());
          }
        },
      ),
    );
  });

  it("that has lost every one of as many hosts as there may be still fits a message, whatever its dispatches were", () => {
    const run = new JobRun(jobOf(20_000, { ramp: false, concurrency_max: 1, errors_max: 20_000 }));
    for (const [number, host] of run.job.hosts.entries()) {
      run.dispatched(number, [host]);
      run.heard(number, host, "lost", NOW);
    }
    const [step] = run.next(NOW, 0);
    const ended = step?.kind === "write" ? step.job : run.job;
    expect(ended.counts).toEqual({ lost: 20_000 });
    expect(Job.parse(ended).lost_hosts).toBeDefined();
    // What a job's record takes when it is made, beside the hosts.
    expect(JSON.stringify(ended.lost_hosts).length).toBeLessThan((MESSAGE_BYTES_MAX - 491_520) / 4);
    expect(JobRun.ended(ended)?.heard(19_999, "h19999", "failed", NOW)).toBe(true);
  });

  it("with errors that were allowed has succeeded and says so, unless nobody succeeded", () => {
    for (const succeeded of [2, 1, 0]) {
      const bus: Bus = { job: jobOf(2, { ramp: false, errors_max: 5 }), dispatches: [], results: [] };
      const run = replayed(bus);
      work(run, bus, NOW);
      for (const host of [0, 1]) run.heard(0, `h${host}`, host < succeeded ? "succeeded" : "failed", NOW);
      work(run, bus, NOW);
      expect(bus.job.state).toBe(succeeded === 0 ? "failed" : "succeeded");
      const said = `${2 - succeeded} of 2 hosts did not succeed, and up to 5 may`;
      expect(bus.job.message).toBe(succeeded === 2 ? "" : said);
    }
  });

  it("out of time sends nothing more, and has failed unless nothing was sent at all", () => {
    const run = new JobRun(jobOf(3, { ramp: false, concurrency_max: 1 }));
    const bus: Bus = { job: run.job, dispatches: [], results: [] };
    work(run, bus, NOW);
    run.heard(0, "h0", "succeeded", NOW);
    work(run, bus, NOW + 600_001);
    expect(bus.job).toMatchObject({ state: "failed", stop_cause: "expired", counts: { succeeded: 1, queued: 2 } });
    const late: Bus = { job: jobOf(3), dispatches: [], results: [] };
    work(new JobRun(late.job), late, NOW + 600_001);
    expect(late.job).toMatchObject({ state: "expired", counts: { queued: 3 } });
  });
});
