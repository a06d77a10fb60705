/**
 * What comes from logs is hostile: characters that steer a terminal, or turn the direction of text (Unicode TR 36), become visible stand-ins.
 */
const STEERING = /(?![\t\n])\p{Cc}|[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

export const printable = (text: string): string => text.toWellFormed().replace(STEERING, "\u00b7");

export const oneLine = (text: string): string => printable(text.replace(/\s+/g, " "));
