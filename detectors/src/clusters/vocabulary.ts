import { NAME, WORD } from "./token-kind.ts";

/*
 * What is known of words before a line was seen: words that tell what happened, and words behind which a name stands.
 */

/** Words that say what happened: a template never gives them up for a wildcard, lest "VM Started" and "VM Paused" be one. */
const EVENT_WORDS = new Set(
  (
    "start started starting startup stop stopped stopping pause paused pausing resume resumed resuming restart restarted restarting run running " +
    "exit exited shutdown boot booted reboot rebooted suspend suspended sleep wake init inited initialized initializing " +
    "open opened opening close closed closing connect connected connecting disconnect disconnected reconnect reconnected bind bound listen listening " +
    "create created creating delete deleted deleting remove removed removing add added adding update updated insert inserted set unset reset " +
    "enable enabled enabling disable disabled disabling allow allowed deny denied accept accepted reject rejected refuse refused grant granted revoke revoked " +
    "succeed succeeded success successful successfully fail failed failing failure complete completed abort aborted cancel cancelled canceled " +
    "up down on off online offline healthy unhealthy ready unready available unavailable active inactive live alive dead lost found missing " +
    "mount mounted unmount unmounted attach attached detach detached lock locked unlock unlocked acquire acquired release released " +
    "login logout authenticated unauthenticated authorized unauthorized valid invalid expired timeout timed killed kill crashed panicked recovered " +
    "ok error errors traceback segfault segmentation memory unhandled core dumped warning warn info notice debug trace fatal critical severe panic exception yes no not never none " +
    "get head post put patch delete options read write send sent receive received request response get put increase increased decrease decreased high low full empty join joined leave left leader follower " +
    "ipv4 ipv6 tcp udp icmp http https ssh ftp tls ssl dns " +
    "new scheduled assigned unassigned pending submitted finished finishing idle busy waiting queued retry retrying skip skipped " +
    "load loaded loading unload unloaded save saved begin began end ended first last before after above below " +
    "in out to from with without by for of at into onto is are was were be been has have had can cannot could will would must should may does did " +
    "and or but if then because when while before after until"
  ).split(" "),
);

/** Nouns that a name or a value follows: the word behind them is more often a variable. */
const NAMING_NOUNS = new Set(
  (
    "user username account uid host hostname server client node device interface process service job task container file filename directory folder path " +
    "class package module queue topic table database index key name id identifier address url uri domain realm group role session thread application app " +
    "instance image volume pool tag label bundle component plugin resource partition broker cluster namespace pod region zone bucket schema " +
    "program command binary library driver rack slot port method function type source target destination"
  ).split(" "),
);

const LETTERS = /[\p{L}]+/gu;
const bare = (word: string): string => word.toLowerCase().replaceAll(/^[^\p{L}]+|[^\p{L}]+$/gu, "");

/** A verb's form, as it ends in English. */
const VERBAL = /^\p{L}*\p{Ll}{2}(?:ed|ing)$/u;
const UNITS = new Set(
  "b kb mb gb tb kib mib gib byte bytes ns us ms s sec secs second seconds min mins minute minutes hour hours day days".split(
    " ",
  ),
);

/** The last part of NAMES_LIKE_THIS and names.like.THIS counts too: SCREEN_ON and SCREEN_OFF are states. */
const isProtected = (word: string): boolean => {
  const core = /^ipv[46]$/i.test(word) ? word.toLowerCase() : bare(word);
  if (EVENT_WORDS.has(core) || VERBAL.test(core)) return true;
  const parts = word.match(LETTERS);
  const last = parts !== null && parts.length > 1 ? parts.at(-1) : undefined;
  return last !== undefined && last === last.toUpperCase() && EVENT_WORDS.has(last.toLowerCase());
};

const isNaming = (word: string): boolean => NAMING_NOUNS.has(bare(word));
export const TELLING_KEYS: ReadonlySet<string> = new Set(
  (
    "msg message text log event title summary description detail details err error exception cause reason " +
    "state status phase action operation op result outcome level severity"
  ).split(" "),
);
const ACCOUNTS = new Set(
  "root admin administrator Administrator guest nobody anonymous postgres oracle mysql ubuntu".split(" "),
);
const isUnit = (word: string): boolean => UNITS.has(word.toLowerCase());
/** Marks or capitals within: the name of something rather than a word of a sentence. */
const isNamelike = (word: string): boolean => /[._$\-\\/\d]|\p{Ll}\p{Lu}/u.test(word);

export const PROTECTED = 1;
export const NAMING = 2;
export const NAMELIKE = 4;
export const UNIT = 8;
/** An account that systems come with: where one stands, others may. */
export const ACCOUNT = 16;
/** A key whose value is a sentence or a state: it tells what happened as much as the line does. */
export const TELLING = 32;

/** What is known of a token's text. */
export const wordFlags = (kind: number, text: string): number => {
  if (kind !== WORD && kind !== NAME) return 0;
  return (
    (isProtected(text) ? PROTECTED : 0) |
    (isNaming(text) ? NAMING : 0) |
    (isNamelike(text) ? NAMELIKE : 0) |
    (isUnit(text) ? UNIT : 0) |
    (ACCOUNTS.has(text) ? ACCOUNT : 0) |
    (TELLING_KEYS.has(text.toLowerCase()) ? TELLING : 0)
  );
};

const ERROR_WORDS =
  /\b(?:error|exception|fatal|panic|critical|traceback|segfault|segmentation fault|out of memory|unhandled|core dumped)\b/i;

/** All of these words are protected, so that what one line of a template says, all say. */
export const speaksOfError = (words: readonly string[]): boolean => ERROR_WORDS.test(words.join(" "));
