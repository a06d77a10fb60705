import { templateText } from "../clusters/line-template.ts";
import { TemplateMiner } from "../clusters/template-miner.ts";
import type { TemplateOf } from "./calls.ts";

/** What begins a value or a list of fields: `{`, `=`, or a colon with a blank or a bracket after it. */
const VALUE_BEGINS = /[{=]|:(?=[\s[(<"'])/g;
/** A line whose values begin before it has said this many words is made of fields, and is taken whole. */
const HEAD_WORDS_MIN = 4;

/**
 * A line first says what happens and then with what: of a template, the part before its values. Without it, the same statement with another payload
 * (other stations, another list) looks like other behaviour where only the requests differ.
 */
export const headOf = (template: string): string => {
  for (const { index } of template.matchAll(VALUE_BEGINS)) {
    const head = template.slice(0, index);
    const words = head.split(/\s+/).filter((word) => word !== "").length;
    return words >= HEAD_WORDS_MIN ? head : template;
  }
  return template;
};

/** Templates of these messages. All are read first, so that a message means the same wherever it stands, whatever was merged after it came. */
export const templatesOf = (messages: Iterable<string>): TemplateOf => {
  const miner = new TemplateMiner();
  for (const message of messages) miner.classify(Buffer.from(message));
  const known = new Map<string, string>();
  return (message) => {
    const text = known.get(message) ?? headOf(templateText(miner.at(miner.classify(Buffer.from(message)))));
    known.set(message, text);
    return text;
  };
};
