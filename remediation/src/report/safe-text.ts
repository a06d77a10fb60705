/**
 * What comes from logs is hostile: characters that steer a terminal, or turn the direction of text (Unicode TR 36), become visible stand-ins.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

export const printable = (text: string): string => text.toWellFormed().replace(STEERING, "\u00b7");

export const oneLine = (text: string): string => printable(text.replace(/\s+/g, " "));
