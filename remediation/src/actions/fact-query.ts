import { Plan } from "@homeostat/schemas";
import type { z } from "zod";

const verification = Plan.shape.verification;

export const FactQuery = verification.shape.facts.element;
export type FactQuery = z.infer<typeof FactQuery>;

export const Check = verification.shape.checks.element;
export type Check = z.infer<typeof Check>;

export type Verification = z.infer<typeof verification>;
