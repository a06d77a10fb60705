/** What a verb takes, for the scripts that complete it. */
export interface Completed {
  /** As it is written: `run`, `dlq list`. */
  readonly verb: string;
  readonly flags: readonly string[];
  /** Flags that a value follows. */
  readonly valued: readonly string[];
  /** Of these flags, the words that a value is one of. */
  readonly values: Readonly<Record<string, readonly string[]>>;
  /** Which names follow the verb, asked of the platform; null: none. */
  readonly names: NameKind | null;
}

/** Names that only a running platform knows. */
export const NAME_KINDS = ["hosts", "jobs", "plugins", "sites"] as const;
export type NameKind = (typeof NAME_KINDS)[number];

/** Flags whose value is a name of this kind. */
export const FLAG_NAMES: Readonly<Record<string, NameKind>> = {
  on: "hosts",
  host: "hosts",
  site: "sites",
};

/** Flags whose value is a file or a folder. */
export const FLAG_FILES: readonly string[] = [
  "config",
  "rules",
  "data-dir",
  "token-file",
  "key",
  "manifest",
  "release",
  "report-dir",
  "dir",
  "out",
];

const words = (list: readonly string[]): string => list.join(" ");
const unique = (list: readonly string[]): readonly string[] => [...new Set(list)];
const dashed = (flags: readonly string[]): string => words(flags.map((flag) => `--${flag}`));
const firstWords = (verbs: readonly Completed[]): readonly string[] =>
  unique(verbs.map(({ verb }) => verb.split(" ")[0] ?? ""));

/** Second words by first: `dlq` → list, show, replay. */
const groups = (verbs: readonly Completed[]): ReadonlyMap<string, readonly string[]> => {
  const found = new Map<string, string[]>();
  for (const { verb } of verbs) {
    const [first = "", second] = verb.split(" ");
    if (second !== undefined) found.set(first, [...(found.get(first) ?? []), second]);
  }
  return found;
};

const flagNameCases = (text: (flag: string, kind: NameKind) => string): string =>
  Object.entries(FLAG_NAMES)
    .map(([flag, kind]) => text(flag, kind))
    .join("\n");

/** Cases of `VERB --FLAG`: what else a value may be, or nothing that is known. */
const valueCases = (verbs: readonly Completed[], text: (pattern: string, values: string) => string): string =>
  verbs
    .flatMap(({ verb, valued, values }) => [
      ...Object.entries(values).map(([flag, known]) => text(`"${verb} --${flag}"`, words(known))),
      ...(valued.length === 0 ? [] : [text(valued.map((flag) => `"${verb} --${flag}"`).join("|"), "")]),
    ])
    .join("\n");

/** The lines of one case per verb. */
const casesOf = (verbs: readonly Completed[], text: (one: Completed) => string): string => verbs.map(text).join("\n");

/** Bash 4 or newer; https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion.html */
export const bashCompletion = (verbs: readonly Completed[]): string => `# homeostat completion for bash
_homeostat_names() {
  local args=() i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in
      --data-dir | --api | --token-file) args+=("\${COMP_WORDS[i]}" "\${COMP_WORDS[i + 1]}") ;;
    esac
  done
  "\${COMP_WORDS[0]}" completion names "$1" "\${args[@]}" 2>/dev/null
}
# Behind a comma begins the next name.
_homeostat_listed() {
  local before=
  [[ $cur != *,* ]] || before="\${cur%,*},"
  COMPREPLY=($(compgen -P "$before" -W "$(_homeostat_names "$1")" -- "\${cur##*,}"))
}
_homeostat() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} verb=\${COMP_WORDS[1]} flags= names=
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    COMPREPLY=($(compgen -W "${words(firstWords(verbs))}" -- "$cur"))
    return
  fi
  case "$prev" in
${flagNameCases((flag, kind) => `    --${flag}) _homeostat_listed ${kind}; return ;;`)}
    ${FLAG_FILES.map((flag) => `--${flag}`).join(" | ")}) COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  case "$verb" in
${[...groups(verbs)]
  .map(
    ([first, seconds]) => `    ${first})
      if [[ $COMP_CWORD -eq 2 ]]; then COMPREPLY=($(compgen -W "${words(seconds)}${
        verbs.some(({ verb }) => verb === first)
          ? ` ${dashed(verbs.find(({ verb }) => verb === first)?.flags ?? [])}`
          : ""
      }" -- "$cur")); return; fi
      case "\${COMP_WORDS[2]}" in ${words(seconds).replaceAll(" ", " | ")}) verb="$verb \${COMP_WORDS[2]}" ;; esac ;;`,
  )
  .join("\n")}
  esac
  case "$verb $prev" in
${valueCases(verbs, (pattern, values) => `    ${pattern}) COMPREPLY=($(compgen -W "${values}" -- "$cur")); return ;;`)}
  esac
  case "$verb" in
${casesOf(verbs, ({ verb, flags, names }) => `    "${verb}") flags="${dashed(flags)}" names=${names ?? ""} ;;`)}
  esac
  if [[ $cur == -* || -z $names ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$(_homeostat_names "$names")" -- "$cur"))
  fi
}
complete -F _homeostat homeostat
`;

/** https://zsh.sourceforge.io/Doc/Release/Completion-System.html */
export const zshCompletion = (verbs: readonly Completed[]): string => `#compdef homeostat
# homeostat completion for zsh
_homeostat_names() {
  local -a args names
  local i
  for ((i = 2; i < CURRENT; i++)); do
    case "\${words[i]}" in
      --data-dir|--api|--token-file) args+=("\${words[i]}" "\${words[i+1]}") ;;
    esac
  done
  names=("\${(@f)$("\${words[1]}" completion names "$1" "\${args[@]}" 2>/dev/null)}")
  compadd -a names
}
_homeostat() {
  local verb="\${words[2]}" names=""
  local -a flags
  if (( CURRENT == 2 )); then
    compadd ${words(firstWords(verbs))}
    return
  fi
  case "\${words[CURRENT-1]}" in
${flagNameCases((flag, kind) => `    --${flag}) _homeostat_names ${kind}; return ;;`)}
    ${FLAG_FILES.map((flag) => `--${flag}`).join("|")}) _files; return ;;
  esac
  case "$verb" in
${[...groups(verbs)]
  .map(
    ([first, seconds]) => `    ${first})
      if (( CURRENT == 3 )); then compadd ${words(seconds)}; fi
      case "\${words[3]}" in ${words(seconds).replaceAll(" ", "|")}) verb="$verb \${words[3]}" ;; esac ;;`,
  )
  .join("\n")}
  esac
  case "$verb \${words[CURRENT-1]}" in
${valueCases(verbs, (pattern, values) => `    ${pattern}) ${values === "" ? "" : `compadd ${values}; `}return ;;`)}
  esac
  case "$verb" in
${casesOf(verbs, ({ verb, flags, names }) => `    "${verb}") flags=(${dashed(flags)}); names="${names ?? ""}" ;;`)}
  esac
  if [[ "\${words[CURRENT]}" == -* || -z "$names" ]]; then
    compadd -a flags
  else
    _homeostat_names "$names"
  fi
}
# As a file of fpath it is this function's body, at the first Tab; otherwise it is sourced.
if [[ "\${funcstack[1]}" == _homeostat ]]; then _homeostat "$@"; else compdef _homeostat homeostat; fi
`;

/** https://fishshell.com/docs/current/completions.html */
export const fishCompletion = (verbs: readonly Completed[]): string => {
  const isVerb = (verb: string): string => {
    const seconds = groups(verbs).get(verb) ?? [];
    return [`__homeostat_is ${verb}`, ...seconds.map((second) => `not __homeostat_is ${verb} ${second}`)].join(
      "; and ",
    );
  };
  const flagLine = ({ verb, valued, values }: Completed, flag: string): string => {
    const kind = FLAG_NAMES[flag];
    const known = values[flag];
    const offers = kind === undefined ? known && words(known) : `(homeostat completion names ${kind} 2>/dev/null)`;
    const value = offers === undefined ? "" : ` -a '${offers}'`;
    const takes = FLAG_FILES.includes(flag) ? "-r -F" : `-x${value}`;
    return `complete -c homeostat -n '${isVerb(verb)}' -l ${flag}${valued.includes(flag) ? ` ${takes}` : ""}`;
  };
  return `# homeostat completion for fish
function __homeostat_is
  set -l line (commandline -opc)
  set -l last (math (count $argv) + 1)
  test (count $line) -ge $last; and test "$line[2..$last]" = "$argv"
end
complete -c homeostat -f
complete -c homeostat -n 'test (count (commandline -opc)) -eq 1' -a '${words(firstWords(verbs))}'
${[...groups(verbs)]
  .map(
    ([first, seconds]) =>
      `complete -c homeostat -n '__homeostat_is ${first}; and test (count (commandline -opc)) -eq 2' -a '${words(seconds)}'`,
  )
  .join("\n")}
${verbs
  .flatMap((one) => [
    ...(one.names === null
      ? []
      : [`complete -c homeostat -n '${isVerb(one.verb)}' -a '(homeostat completion names ${one.names} 2>/dev/null)'`]),
    ...one.flags.map((flag) => flagLine(one, flag)),
  ])
  .join("\n")}
`;
};
