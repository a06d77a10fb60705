/** What a start reads when it is told of no other file. */
export const DEFAULT_CONFIG = "homeostat.yaml";
