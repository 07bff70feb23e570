/**
 * The name of a policy, as an option: apart from the other options, for it needs
 * the policies.
 *
 * @module
 */
import { isPolicyName, type PolicyName } from "../policy/mod.ts";
import { refuse } from "./options.ts";

/** @throws {UsageError} if there is no such policy. */
export function policy(text: string): PolicyName {
  if (isPolicyName(text)) return text;
  throw refuse(
    "policy",
    text,
    "there is no such policy",
    "See the policies there are: cortex cache policies",
  );
}
