/**
 * The statements of an SQL file: split at each `;` that stands outside of strings, quoted names and comments; empty ones fall away.
 * Comments stay where they are inside a statement.
 */
const TOKEN = /'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"|--[^\n]*|\/\*[\s\S]*?\*\/|;|[^;'`"\-/]+|./gs;

const isComment = (token: string): boolean => token.startsWith("--") || token.startsWith("/*");

export const statements = (sql: string): readonly string[] => {
  const found: string[] = [];
  let current = "";
  let isEmpty = true;
  for (const token of [...(sql.match(TOKEN) ?? []), ";"]) {
    if (token !== ";") {
      current += token;
      isEmpty &&= token.trim() === "" || isComment(token);
      continue;
    }
    if (!isEmpty) found.push(current.trim());
    current = "";
    isEmpty = true;
  }
  return found;
};
