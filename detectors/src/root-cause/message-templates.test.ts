import { expect, test } from "vitest";
import { headOf, templatesOf } from "./message-templates.ts";

test.each([
  ["order created for user: <*> with items=<*>", "order created for user"],
  ["GET /cart answered [items: [a, b]]", "GET /cart answered [items"],
  ["config loaded from disk {a: 1}", "config loaded from disk "],
  ["ERROR: connection refused", "ERROR: connection refused"],
  ["level=info msg=started port=<*>", "level=info msg=started port=<*>"],
  ["ready", "ready"],
])("of “%s” what happens is “%s”", (template, head) => {
  expect(headOf(template)).toBe(head);
});

test("the same statement with other numbers is one template, and another statement is another", () => {
  const messages = Array.from({ length: 50 }, (_, at) => `stored object ${at * 13} in ${at} ms`);
  const templateOf = templatesOf([...messages, "stopped"]);
  expect(new Set(messages.map(templateOf)).size).toBe(1);
  expect(templateOf("stopped")).not.toBe(templateOf(messages[0] ?? ""));
});
