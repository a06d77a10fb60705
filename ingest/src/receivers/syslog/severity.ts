/** Syslog's severities (RFC 5424, section 6.2.1) with OpenTelemetry's numbers for them (logs data model, appendix B). */
const SEVERITIES = [
  { text: "emerg", number: 21 },
  { text: "alert", number: 19 },
  { text: "crit", number: 18 },
  { text: "err", number: 17 },
  { text: "warning", number: 13 },
  { text: "notice", number: 10 },
  { text: "info", number: 9 },
  { text: "debug", number: 5 },
] as const;

const FACILITIES = [
  ...["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"],
  ...["ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"],
];

export interface Priority {
  readonly severityNumber: number;
  readonly severityText: string;
  readonly facility: string;
}

/** PRI is 8 times the facility plus the severity, 0 to 191; null for anything else. */
export const priorityOf = (pri: number): Priority | null => {
  const severity = SEVERITIES[pri % 8];
  const facility = FACILITIES[Math.floor(pri / 8)];
  if (severity === undefined || facility === undefined) return null;
  return { severityNumber: severity.number, severityText: severity.text, facility };
};
