/** Of the agent's own release; what `agent.update` compares. */
export const AGENT_VERSION = "0.1.0";
