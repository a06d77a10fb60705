/** Elements and parameters together: beyond it the message is kept unparsed. */
const PARAMETERS_MAX = 500;

const ELEMENT = /\[([^ =\]"]{1,64})/y;
const PARAMETER = / +([^ =\]"]{1,64})="((?:[^"\\\]]|\\.)*)"/sy;

/** Each parameter as `syslog.<SD-ID>.<name>`, and where the data ends. Null when it is malformed (RFC 5424, section 6.3). */
export const readStructuredData = (
  text: string,
  from: number,
): { readonly attributes: Record<string, string>; readonly end: number } | null => {
  const attributes: Record<string, string> = {};
  if (text[from] === "-") return { attributes, end: from + 1 };
  let at = from;
  let count = 0;
  while (text[at] === "[") {
    ELEMENT.lastIndex = at;
    const id = ELEMENT.exec(text)?.[1];
    if (id === undefined) return null;
    at = ELEMENT.lastIndex;
    for (;;) {
      if (++count > PARAMETERS_MAX) return null;
      PARAMETER.lastIndex = at;
      const match = PARAMETER.exec(text);
      if (match === null) break;
      at = PARAMETER.lastIndex;
      attributes[`syslog.${id}.${match[1]}`] = (match[2] ?? "").replace(/\\(["\\\]])/g, "$1");
    }
    if (text[at] !== "]") return null;
    at++;
  }
  return at === from ? null : { attributes, end: at };
};
