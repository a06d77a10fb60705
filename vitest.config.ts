import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["*/src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["**/node_modules/**", "test/kafka/**", "grafana-plugin/**"],
    // Two cores are the floor that we promise; more workers than that only make the engine's start-ups race.
    maxWorkers: 2,
    // They end what never comes, and are far from what a machine with little of its time for us needs: nothing waits for them.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 90_000 } },
  },
});
